"""A case about ledgers: a key, a daemon of one lane that signs with it, and writes that tell where they went."""

import subprocess

from support import events, harness, ledgers


def keygen(path):
    """The public key in PEM."""
    return subprocess.run([str(harness.DAEMON), "keygen", str(path)], capture_output=True, text=True,
                          check=True).stdout


class LedgerCase(harness.PostgresCase):
    def setUp(self):
        self.postgres.empty()
        self.key = self.folder / f"{self.id()}.pem"
        self.public_key = keygen(self.key)

    def start(self, settings=None, **options):
        daemon = self.start_daemon({"ingest.lanes": 1, "ledger.signing_key_file": self.key,
                                    **(settings or {})}, **options)
        daemon.stub = self.open_stub(daemon)
        return daemon

    def write(self, daemon, count=1, **fields):
        request = self.stubs.store.WriteEventsRequest(
            events=[events.make(self.stubs, n, **fields) for n in range(count)])
        return daemon.stub.WriteEvents(request, timeout=60)

    def ledger_of(self, reply):
        (ledger,) = {receipt.ledger_id for receipt in reply.receipts}
        return ledger

    def last_note(self, ledger=1):
        return ledgers.Note(self.postgres.value(
            f"SELECT checkpoint FROM ledger_batches WHERE ledger_id = {ledger}"
            " ORDER BY first_sequence DESC LIMIT 1"))
