"""auditstore over TLS, with certificates and tokens, against the daemon: every command, every refusal."""

import json
import os
import pathlib
import subprocess
import sys
import unittest
import uuid
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import certificates, harness  # noqa: E402


def line(event_id, **fields):
    return json.dumps({"event_id": event_id, "event_time": "2026-03-01T12:00:00Z",
                       "event_type": "test.tls", "event_category": "test", "event_action": "run",
                       "outcome": "SUCCESS", **fields}) + "\n"


def make_token(folder, name):
    """(file of the token, line for the daemon's file)"""
    done = subprocess.run([str(harness.DAEMON), "token", name], capture_output=True, text=True,
                          check=True)
    token, known = done.stdout.splitlines()
    path = folder / f"{name}.token"
    path.write_text(token + "\n")
    path.chmod(0o600)
    return path, known


class TlsTest(harness.PostgresCase):
    """One daemon: TLS, certificates when shown, tokens; nobody may do anything without."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = certificates.Authority(cls.folder)
        cls.stranger = certificates.Authority(cls.folder, "stranger")
        cert, key = cls.authority.issue("server", san="DNS:audit.test,IP:127.0.0.1")
        cls.alice = cls.authority.issue("alice", san="")
        cls.mallory = cls.stranger.issue("mallory", san="")
        cls.ci, known = make_token(cls.folder, "ci")
        cls.bob, known_bob = make_token(cls.folder, "bob")
        cls.unknown, _ = make_token(cls.folder, "unknown")
        tokens = cls.folder / "tokens"
        tokens.write_text(f"{known}\n{known_bob}\n")
        tokens.chmod(0o600)
        everybody = "token:ci,cn:alice"
        cls.daemon = harness.Daemon(
            cls.folder, cls.postgres,
            {"tls.cert_file": cert, "tls.key_file": key, "tls.client_ca_file": cls.authority.cert,
             "tls.client_certificates": "optional", "access.token_file": tokens,
             "access.anonymous_roles": "off", "access.writers": f"{everybody},token:bob",
             "access.readers": everybody, "access.admins": everybody,
             "ingest.max_event_age": "off"},
            credentials=grpc.ssl_channel_credentials(cls.authority.cert.read_bytes()))
        cls.addClassCleanup(cls.daemon.stop)
        cls.by_token = ("--ca", cls.authority.cert, "--token-file", cls.ci)
        cls.by_certificate = ("--ca", cls.authority.cert, "--cert", cls.alice[0],
                              "--key", cls.alice[1])

    def run_tool(self, *args, **options):
        return harness.run_tool(self.daemon.address, "--timeout", "20s", *args, **options)

    def succeed(self, *args, **options):
        done = self.run_tool(*args, **options)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def fail_with(self, code, *args, **options):
        done = self.run_tool(*args, **options)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stderr

    # ---- what works ----

    def test_every_command_by_token_and_by_certificate(self):
        for how, principal in ((self.by_token, "token:ci"), (self.by_certificate, "cn:alice")):
            with self.subTest(principal):
                event_id = str(uuid.uuid4())
                self.assertEqual("SERVING\n", self.succeed(*how, "health"))
                sent = self.succeed(*how, "send", stdin=line(event_id, correlation_id=event_id))
                self.assertIn("acknowledged 1 ", sent)
                shown = self.succeed(*how, "get", event_id)
                self.assertRegex(shown, f"(?m)^principal +{principal}$")
                stored = json.loads(self.succeed(*how, "get", event_id, "--json"))
                self.assertEqual(principal, stored["principal"])
                listed = self.succeed(*how, "list", "--correlation", event_id)
                header, *rows = listed.splitlines()
                self.assertEqual(1, len(rows))
                self.assertTrue(rows[0][header.index("PRINCIPAL"):].startswith(principal), rows)
                self.assertIn("access.token_file", self.succeed(*how, "info"))

    def test_principals_select_and_are_counted(self):
        tag = str(uuid.uuid4())
        for how, count in ((self.by_token, 3), (self.by_certificate, 2)):
            text = "".join(line(str(uuid.uuid4()), correlation_id=tag) for _ in range(count))
            self.succeed(*how, "send", stdin=text)
        rows = self.succeed(*self.by_token, "list", "--json", "--correlation", tag, "--principal",
                            "cn:alice").splitlines()
        self.assertEqual(["cn:alice"] * 2, [json.loads(row)["principal"] for row in rows])
        self.assertEqual("5\n", self.succeed(*self.by_token, "count", "--correlation", tag,
                                             "--principal", "cn:alice", "--principal", "token:ci"))
        counted = self.succeed(*self.by_token, "count", "--correlation", tag, "--by", "principal")
        self.assertEqual("COUNT  NAME\n3      token:ci\n2      cn:alice\n5  in all\n", counted)

    def test_a_profile_says_it_all(self):
        folder = self.folder / "home/.config/auditstore"
        folder.mkdir(parents=True)
        (folder / "ci.token").write_text(self.ci.read_text())
        (folder / "ci.token").chmod(0o600)
        (folder / "config.yaml").write_text(
            f"default_profile: test\nprofiles:\n  test:\n    server: {self.daemon.address}\n"
            f"    ca_file: {self.authority.cert}\n    server_name: audit.test\n"
            f"    token_file: ci.token\n    timeout: 20s\n  anonymous:\n"
            f"    server: {self.daemon.address}\n    ca_file: {self.authority.cert}\n")
        env = {key: value for key, value in os.environ.items() if not key.startswith("AUDITSTORE_")}
        env.update(HOME=str(self.folder / "home"))
        env.pop("XDG_CONFIG_HOME", None)

        def run(*args):
            return subprocess.run([str(harness.TOOL), *args], capture_output=True, text=True,
                                  check=False, timeout=60, env=env, stdin=subprocess.DEVNULL)
        self.assertEqual(0, run("list").returncode)
        done = run("list", "--profile", "anonymous")
        self.assertEqual(1, done.returncode)
        self.assertIn("UNAUTHENTICATED", done.stderr)
        self.assertIn("The profile is anonymous.", done.stderr)

    def test_the_environment_says_it_all(self):
        env = {"AUDITSTORE_CA": str(self.authority.cert), "AUDITSTORE_TOKEN_FILE": str(self.ci)}
        self.succeed("list", env=env)
        env = {"AUDITSTORE_CA": str(self.authority.cert), "AUDITSTORE_CERT": str(self.alice[0]),
               "AUDITSTORE_KEY": str(self.alice[1])}
        self.succeed("list", env=env)

    def test_the_servers_name_may_be_another_than_the_address(self):
        self.succeed(*self.by_token, "--server-name", "audit.test", "list")
        self.fail_with(3, *self.by_token, "--server-name", "other.test", "list")

    def test_a_long_stream_goes_through_tls(self):
        text = "".join(line(str(uuid.uuid4()), event_data={"x": "y" * 2000}) for _ in range(3000))
        self.assertIn("acknowledged 3000 ", self.succeed(*self.by_token, "send", stdin=text))

    # ---- what is refused ----

    def check_told(self, told, *wanted):
        for text in wanted:
            self.assertIn(text, told)
        for token in (self.ci, self.bob, self.unknown):
            self.assertNotIn(token.read_text().strip(), told)

    def test_who_shows_nothing_is_told_how_to(self):
        told = self.fail_with(1, "--ca", self.authority.cert, "list")
        self.check_told(told, "UNAUTHENTICATED", "neither a token nor a certificate",
                        "--token-file, or --cert and")

    def test_a_token_that_is_not_known(self):
        told = self.fail_with(1, "--ca", self.authority.cert, "--token-file", self.unknown, "list")
        self.check_told(told, "UNAUTHENTICATED",
                        f"shown the token in {self.unknown} (--token-file)", "isn't known there")

    def test_a_token_without_the_role(self):
        bob = ("--ca", self.authority.cert, "--token-file", self.bob)
        self.succeed(*bob, "send", stdin=line(str(uuid.uuid4())))
        for command in (("list",), ("get", str(uuid.uuid4())), ("count",), ("info",)):
            told = self.fail_with(1, *bob, *command)
            self.check_told(told, "PERMISSION_DENIED", f"shown the token in {self.bob}",
                            "Who runs the server gives roles")

    def test_what_may_not_be_sent_is_refused(self):
        done = self.run_tool("--ca", self.authority.cert, "send",
                             stdin="".join(line(str(uuid.uuid4())) for _ in range(3)))
        self.assertEqual(1, done.returncode, done.stderr)
        self.check_told(done.stderr, "UNAUTHENTICATED", "neither a token nor a certificate",
                        "standard input:1-3: unconfirmed: most likely not stored")
        self.assertEqual("acknowledged 0 (0 of them stored before), refused 0, unconfirmed 3\n",
                         done.stdout)

    def test_a_server_that_is_not_vouched_for(self):
        for args, why in ((("--tls",), "certificate must be signed by whom this system trusts"),
                          (("--ca", self.stranger.cert),
                           f"must be signed by {self.stranger.cert} (--ca)"),
                          (("--ca", self.authority.cert, "--server-name", "other.test"),
                           "It must be for other.test (--server-name)")):
            with self.subTest(args):
                told = self.fail_with(3, "--token-file", self.ci, *args, "health")
                self.check_told(told, "no TLS with", "TLS is on", "certificate", why)
                self.assertNotIn("Is auditstored running", told)

    def test_a_certificate_that_the_server_does_not_take(self):
        cert, key = self.mallory
        told = self.fail_with(3, "--ca", self.authority.cert, "--cert", cert, "--key", key, "health")
        self.check_told(told, "UNAVAILABLE", f"was shown the certificate {cert} (--cert)")

    def test_files_that_are_no_pem(self):
        text = self.folder / "text.pem"
        text.write_text("no PEM")
        text.chmod(0o600)
        for args in (("--ca", text), ("--ca", self.authority.cert, "--cert", text, "--key", text),
                     ("--ca", self.authority.cert, "--cert", self.alice[0], "--key", text)):
            with self.subTest(args):
                told = self.fail_with(3, *args, "health")
                self.check_told(told, str(text), f"The file is {text} (--")
                self.assertNotIn("Is auditstored running", told)

    def test_what_is_wrong_with_a_file_is_told_with_the_remedy(self):
        cert, key = self.alice
        made = {name: self.folder / name for name in ("ca.der", "alice.p12", "locked.pem", "empty.pem")}
        for args in (("x509", "-in", self.authority.cert, "-outform", "DER", "-out", made["ca.der"]),
                     ("pkcs12", "-export", "-in", cert, "-inkey", key, "-passout", "pass:x", "-out", made["alice.p12"]),
                     ("pkey", "-in", key, "-aes128", "-passout", "pass:x", "-out", made["locked.pem"])):
            certificates.openssl(*args)
        made["empty.pem"].touch()
        made["cert.pem"] = self.folder / "cert.pem"
        made["cert.pem"].write_bytes(cert.read_bytes())
        for path in made.values():
            path.chmod(0o600)
        pair = ("--ca", self.authority.cert, "--cert", cert, "--key")
        for args, told in ((("--ca", made["ca.der"]), '" is DER, not PEM: openssl x509 -inform DER'),
                           (("--ca", made["empty.pem"]), '" is empty'),
                           ((*pair, made["alice.p12"]), '" is PKCS#12, not PEM: openssl pkcs12'),
                           ((*pair, made["locked.pem"]), '" needs a passphrase'),
                           ((*pair, made["cert.pem"]), '" holds no private key')):
            with self.subTest(told=told):
                self.check_told(self.fail_with(3, *args, "health"), told)

    def test_too_few_files_are_blamed_on_nothing_else(self):
        """Some limit lets the tool begin, and leaves it nothing for a connection or its files."""
        for args in ((), ("--ca", self.authority.cert)):
            told = [self.run_with_few_files(limit, *args) for limit in range(4, 16)]
            told = [text for text in told if "Too many open files\n" in text and "auditstore: can't" in text]
            self.assertNotEqual([], told)
            for text in told:
                self.check_told(text, "This command may open too few files")
                self.assertNotIn("TLS", text)
                self.assertNotIn("Is auditstored running", text)

    def run_with_few_files(self, limit, *args):
        return subprocess.run(["bash", "-c", f'ulimit -n {limit}; exec "$@"', "sh", str(harness.TOOL), "--server",
                               self.daemon.address, *map(str, args), "health"], capture_output=True, text=True,
                              check=False, timeout=harness.START_DEADLINE_S).stderr

    def test_an_empty_token_file_is_named(self):
        empty = self.folder / "empty.token"
        empty.touch()
        empty.chmod(0o600)
        done = self.run_tool("--ca", self.authority.cert, "--token-file", empty, "list")
        self.assertNotEqual(0, done.returncode)
        self.check_told(done.stderr, "no token in it", f"The file is {empty} (--token-file)")
        self.assertNotIn("isn't known there", done.stderr)

    def test_plaintext_where_tls_is_spoken(self):
        told = self.fail_with(3, "health")
        self.check_told(told, "TLS is off; a server that has it needs --tls or --ca FILE")

    def test_tls_where_plaintext_is_spoken(self):
        plain = self.start_daemon()
        done = harness.run_tool(plain.address, "--tls", "--timeout", "20s", "health")
        self.assertEqual(3, done.returncode)
        self.check_told(done.stderr, "TLS is on; --plaintext turns it off")
        done = harness.run_tool(plain.address, "--timeout", "20s", "health")
        self.assertEqual(0, done.returncode, done.stderr)

    def test_where_nothing_listens_tls_is_no_matter(self):
        done = harness.run_tool("127.0.0.1:1", "--timeout", "5s", "health")
        self.assertEqual(3, done.returncode)
        self.assertNotIn("TLS", done.stderr)

    def test_a_token_does_not_leave_the_machine_in_the_clear(self):
        # 192.0.2.1 is of nobody; it isn't even dialled.
        done = harness.run_tool("192.0.2.1:7443", "--plaintext", "--token-file", self.ci, "list")
        self.assertEqual(2, done.returncode, done.stderr)
        self.check_told(done.stderr, "192.0.2.1:7443", "TLS")

    # ---- other addresses ----

    def test_the_next_server_is_asked_when_one_is_away(self):
        servers = f"127.0.0.1:1,{self.daemon.address}"
        done = harness.run_tool(servers, "--timeout", "20s", *self.by_token, "list")
        self.assertEqual(0, done.returncode, done.stderr)

    def test_a_unix_socket(self):
        health = self.stubs.health

        class Servicer(self.stubs.health_grpc.HealthServicer):
            def Check(self, request, context):
                return health.HealthCheckResponse(status=1)
        path = self.folder / "socket"
        server = grpc.server(futures.ThreadPoolExecutor(1))
        self.stubs.health_grpc.add_HealthServicer_to_server(Servicer(), server)
        server.add_insecure_port(f"unix:{path}")
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        # On this machine the token may go without TLS.
        done = harness.run_tool(f"unix:{path}", "--token-file", self.ci, "health")
        self.assertEqual((0, "SERVING\n"), (done.returncode, done.stdout), done.stderr)


if __name__ == "__main__":
    unittest.main()
