"""A store whose daemons remember: cases about its name, its memory's file and its restores."""

import subprocess

from support import events, harness

TABLES = ("store", "ledgers", "ledger_batches", "ledger_nodes", "audit_events", "schema_migrations")


class MemoryCase(harness.PostgresCase):
    def setUp(self):
        self.postgres.empty()
        self.memory = self.folder / f"{self.id()}.memory"

    def start(self, settings=None, **options):
        daemon = self.start_daemon({"ingest.lanes": 1, "ledger.memory_file": self.memory,
                                    **(settings or {})}, **options)
        daemon.stub = self.open_stub(daemon)
        return daemon

    def write(self, daemon, count=1):
        """Each in a batch of its own. Returns the ledger of the last."""
        for n in range(count):
            reply = daemon.stub.WriteEvents(self.stubs.store.WriteEventsRequest(
                events=[events.make(self.stubs, n)]), timeout=60)
        return reply.receipts[0].ledger_id

    def run_daemon(self, *args, settings=None):
        return harness.run_daemon(*args, settings={
            **self.postgres.daemon_settings(), "ingest.lanes": 1, "server.listen": "127.0.0.1:0",
            "http.listen": "off", "ledger.memory_file": self.memory, **(settings or {})})

    def refuses(self, code, *words, settings=None, command=()):
        done = self.run_daemon(*command, settings=settings)
        self.assertEqual(code, done.returncode, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def dump(self):
        """All rows of all tables, with what changes when one is written anew."""
        return {table: self.postgres.sql(f"SELECT xmin, ctid, t FROM {table} t ORDER BY t::text")
                for table in TABLES}

    def remember(self, lines):
        """Writes the memory's file: [(ledger id, size, root in base64)]."""
        origin = self.postgres.value("SELECT origin FROM store")
        text = f"auditstore/memory/v1\n{origin}\nlast {max(line[0] for line in lines)}\n"
        text += "".join(f"{ledger} {size} {root}\n" for ledger, size, root in lines)
        digest = subprocess.run(["sha256sum"], input=text, capture_output=True, text=True,
                                check=True).stdout.split()[0]
        self.memory.write_text(f"{text}{digest}\n", encoding="ascii")

    def heads(self):
        return [(int(ledger), int(size), root) for ledger, size, root in self.postgres.sql(
            "SELECT ledger_id, first_sequence + event_count, encode(root, 'base64')"
            " FROM ledger_batches b WHERE first_sequence = (SELECT max(first_sequence)"
            " FROM ledger_batches WHERE ledger_id = b.ledger_id) ORDER BY 1")]
