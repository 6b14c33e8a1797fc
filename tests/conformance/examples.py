"""The examples of clients/, built in build/conformance in the way their READMEs say, for their tests."""

import json
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402

from support import access, certificates, harness, proxy  # noqa: E402

# What a build leaves beside the sources.
BUILT = (".venv", "node_modules", "target", "auditstore", "Cargo.lock", "package-lock.json")
RUN_TIMEOUT_S = 120
# At several places of the stream.
BREAK_AFTER_BYTES = (20000, 35000, 50000)


def built(language, *command, env=None):
    """The folder of a copy of clients/LANGUAGE, in which `command` was run."""
    folder = foreign.FOLDER / f"example-{language}"
    with foreign.lock(folder.name):
        for part in ("proto", f"clients/{language}"):
            shutil.copytree(harness.ROOT / part, folder / part, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns(*(BUILT if part != "proto" else ())))
        foreign.run(*command, cwd=folder / "clients" / language, env=env)
    return folder / "clients" / language


class ExampleCase(access.AccessCase):
    """A subclass has the `language`, and build() that returns the command that runs the example."""

    language = None

    @classmethod
    def setUpClass(cls):
        cls.command = cls.build()
        super().setUpClass()

    def setUp(self):
        self.before = self.count()

    def start(self, settings=None, **options):
        """A daemon for callers with tokens alone: `writer` may only write, `both` also read."""
        self.writer, self.both = self.token("writer"), self.token("both")
        return super().start({"access.writers": "token:writer, token:both",
                              "access.readers": "token:both", **(settings or {})}, **options)

    def count(self):
        """How many events of this example PostgreSQL holds."""
        return int(self.postgres.value(
            f"SELECT count(*) FROM audit_events WHERE actor_id = '{self.language}-example'"))

    def run_program(self, *options):
        return subprocess.run([str(part) for part in (*self.command, *options)], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False,
                              timeout=RUN_TIMEOUT_S)

    def run_example(self, port, *options, caller=None, authority=None):
        """By TLS, with a token: that of `both` unless another is asked for."""
        token = self.folder / "token"
        token.write_text((caller or self.both).authorization.removeprefix("Bearer ") + "\n")
        return self.run_program("--target", f"localhost:{port}", "--token-file", token, "--ca",
                                (authority or self.authority).cert, *options)

    def listed(self, daemon, since):
        """The events of this example, as somebody else sees them; seconds."""
        store = self.stubs.store
        request = store.ListEventsRequest(
            page_size=1000, filter=store.EventFilter(actor_ids=[f"{self.language}-example"]))
        request.filter.start_time.FromMilliseconds(int(since * 1000))
        stub = self.stubs.store_grpc.AuditStoreStub(self.open_channel(daemon, self.both))
        return stub.ListEvents(request, metadata=self.both.metadata(), timeout=60,
                               wait_for_ready=True).events

    def assert_done(self, done, line, stored):
        self.assertEqual((0, f"{line}\n", ""), (done.returncode, done.stdout, done.stderr))
        self.assertEqual(stored, self.count() - self.before)

    def assert_failed(self, done, message, *more, stored=0):
        self.assertEqual((1, ""), (done.returncode, done.stdout), done.stderr)
        for text in (f"example: {message}", *more):
            self.assertIn(text, done.stderr)
        self.assertEqual(stored, self.count() - self.before)


class ExampleTests:
    """What holds in every language."""

    def test_what_it_says_is_stored(self):
        daemon = self.start()
        start = time.time()
        done = self.run_example(daemon.port)
        self.assert_done(done, "wrote 3, streamed 300 in 3 batches, listed 303", 303)
        stored = self.listed(daemon, start)
        self.assertEqual({str(number) for number in range(303)},
                         {each.event.resource.id for each in stored})
        self.assertEqual(303, len({each.event.event_id for each in stored}))
        self.assertEqual(1, len({each.event.correlation_id for each in stored}))
        self.assertEqual({"token:both"}, {each.principal for each in stored})
        for each in stored:
            self.assertEqual({"number": int(each.event.resource.id)},
                             json.loads(each.event.event_data))

    def test_more_batches_than_may_be_unanswered(self):
        daemon = self.start()
        done = self.run_example(daemon.port, "--events", "1950")
        self.assert_done(done, "wrote 3, streamed 1950 in 20 batches, listed 1953", 1953)

    def test_a_broken_connection_costs_no_event_and_doubles_none(self):
        daemon = self.start()
        for after in BREAK_AFTER_BYTES:
            with self.subTest(after=after):
                self.before = self.count()
                between = proxy.Proxy(daemon.port)
                self.addCleanup(between.close)
                between.cut_in = after
                done = self.run_example(between.port)
                self.assert_done(done, "wrote 3, streamed 300 in 3 batches, listed 303", 303)
                self.assertEqual(1, between.cuts)
                # How often a channel tries until it is back is its own affair, and the machine's.
                self.assertGreaterEqual(between.accepted, 2)

    def test_a_refused_batch_is_explained(self):
        daemon = self.start({"ingest.max_request_events": 2})
        self.assert_failed(self.run_example(daemon.port), "WriteEvents: INVALID_ARGUMENT: ",
                           "\n  events: ")
        daemon = self.start({"ingest.max_request_events": 99})
        self.assert_failed(self.run_example(daemon.port),
                           "StreamEvents: batch 0: INVALID_ARGUMENT: ", "\n  events: ", stored=3)

    def test_whom_the_store_and_the_client_do_not_trust(self):
        daemon = self.start()
        with self.subTest("a wrong token"):
            stranger = access.Caller("nobody", authorization="Bearer wrong")
            self.assert_failed(self.run_example(daemon.port, caller=stranger),
                               "WriteEvents: UNAUTHENTICATED: ")
        with self.subTest("a store of another authority"):
            other = certificates.Authority(self.folder, "other")
            self.assert_failed(self.run_example(daemon.port, authority=other),
                               "WriteEvents: UNAVAILABLE: ")
        with self.subTest("a token that may not read"):
            self.assert_failed(self.run_example(daemon.port, "--events", "1", caller=self.writer),
                               "ListEvents: PERMISSION_DENIED: ", stored=4)

    def test_a_token_never_goes_without_tls(self):
        token = self.folder / "token"
        token.write_text("secret\n")
        done = self.run_program("--plaintext", "--token-file", token)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("a token is sent over TLS alone", done.stderr)

    def test_tls_where_the_daemon_has_none_is_told_with_the_option(self):
        daemon = self.start_daemon()
        done = self.run_program("--target", f"localhost:{daemon.port}")
        self.assert_failed(done, "WriteEvents: UN", "\n  TLS is on; a daemon without it needs --plaintext\n")

    def test_plain_text_when_asked_for(self):
        daemon = self.start_daemon({"access.anonymous_roles": "writer, reader"})
        done = self.run_program("--target", f"localhost:{daemon.port}", "--plaintext", "--events", "1")
        self.assert_done(done, "wrote 3, streamed 1 in 1 batches, listed 4", 4)
