"""What `server.environment: production` refuses, and that it serves those who keep to it."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import access, certificates, harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

DEMANDS = "server.environment production "
NO_TLS = 'got "": ' + DEMANDS + "needs a certificate: nothing goes without TLS"
NO_KEY = 'got "": ' + DEMANDS + "needs a key: auditstored keygen FILE makes one"
NOBODY = ('got "": ' + DEMANDS + "needs a way to show who one is: this, or tls.client_certificates")


def anonymous(value):
    return f'got "{value}": {DEMANDS}demands off: everybody shows who he is'


def sslmode(value):
    return (f'got "{value}": {DEMANDS}demands verify-full, or a Unix socket in database.host')


# What is changed in settings that production takes, and what it says: {key: text}.
REFUSALS = (
    ({"tls.cert_file": None, "tls.key_file": None, "tls.client_ca_file": None,
      "tls.client_certificates": None}, {"tls.cert_file": NO_TLS}),
    ({"ledger.signing_key_file": None}, {"ledger.signing_key_file": NO_KEY}),
    ({"access.anonymous_roles": None},
     {"access.anonymous_roles": anonymous("writer,reader,auditor,admin")}),
    ({"access.anonymous_roles": "reader"}, {"access.anonymous_roles": anonymous("reader")}),
    ({"access.token_file": None, "tls.client_ca_file": None, "tls.client_certificates": None},
     {"access.token_file": NOBODY}),
    *(({"database.sslmode": mode}, {"database.sslmode": sslmode(mode)})
      for mode in ("disable", "allow", "prefer", "require", "verify-ca")),
    ({"database.sslmode": "require", "database.host": "127.0.0.1"},
     {"database.sslmode": sslmode("require")}),
    ({"database.sslmode": "require", "database.host": "/run/postgresql,db.internal"},
     {"database.sslmode": sslmode("require")}),
    ({"tls.cert_file": None, "tls.key_file": None, "tls.client_ca_file": None,
      "tls.client_certificates": None, "ledger.signing_key_file": None, "access.token_file": None,
      "access.anonymous_roles": "writer", "database.sslmode": "prefer"},
     {"tls.cert_file": NO_TLS, "ledger.signing_key_file": NO_KEY,
      "access.anonymous_roles": anonymous("writer"), "access.token_file": NOBODY,
      "database.sslmode": sslmode("prefer")}),
)
TAKEN = (
    {},
    {"access.token_file": None},
    {"tls.client_ca_file": None, "tls.client_certificates": None},
    {"database.sslmode": "disable", "database.host": "/run/postgresql"},
    {"database.sslmode": "disable", "database.host": "/run/postgresql,/tmp"},
    {"http.listen": "'[::1]:7444'"},
    {"http.listen": "off"},
)
GOOD = {
    "server.environment": "production",
    "tls.client_certificates": "optional",
    "access.anonymous_roles": "off", "access.writers": "token:ci",
    "database.host": "db.internal", "database.sslmode": "verify-full",
}


class SettingsTest(unittest.TestCase):
    """What can be told from the settings, is told by --check-config, all at once."""

    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.file = temporary.path / "production.yaml"
        authority = certificates.Authority(temporary.path)
        cert, key = authority.issue("server")
        tokens = temporary.path / "tokens"
        tokens.write_text("# nobody yet\n", encoding="ascii")
        tokens.chmod(0o640)
        signing_key = temporary.path / "signing.pem"
        harness.run_daemon("keygen", signing_key)
        cls.good = {**GOOD, "tls.cert_file": cert, "tls.key_file": key,
                    "tls.client_ca_file": authority.cert, "access.token_file": tokens,
                    "ledger.signing_key_file": signing_key}

    def check(self, changes):
        settings = {key: value for key, value in {**self.good, **changes}.items()
                    if value is not None}
        harness.write_config(self.file, settings)
        return harness.run_daemon("--config", self.file, "--check-config")

    @effect_of("server.environment")
    def test_each_refusal_has_its_message(self):
        for changes, expected in REFUSALS:
            with self.subTest(changes=changes):
                done = self.check(changes)
                told = dict(line.split(": ", 2)[1:] for line in done.stderr.splitlines())
                self.assertEqual((2, expected), (done.returncode, told))

    def test_development_refuses_nothing_of_it(self):
        for changes, _ in REFUSALS:
            done = self.check({**changes, "server.environment": "development"})
            self.assertEqual(0, done.returncode, done.stderr)

    def test_what_is_safe_is_taken_without_a_word(self):
        for changes in TAKEN:
            with self.subTest(changes=changes):
                done = self.check(changes)
                self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_pages_for_all_the_world_are_warned_of(self):
        done = self.check({"http.listen": "0.0.0.0:7444"})
        self.assertEqual(0, done.returncode)
        self.assertIn("http.listen: warning: has neither TLS nor access control", done.stderr)


class FilesTest(access.AccessCase):
    """Files of secrets that others may read are found when they are opened."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.signing_key = cls.folder / "signing.pem"
        done = harness.run_daemon("keygen", cls.signing_key)
        assert done.returncode == 0, done.stderr
        cls.password = cls.folder / "password"
        cls.password.write_text("secret\n", encoding="ascii")
        cls.password.chmod(0o600)
        cls.database_cert, cls.database_key = cls.authority.issue("database-client")
        cls.files = {
            "tls.key_file": cls.key,
            "ledger.signing_key_file": cls.signing_key,
            "access.token_file": cls.tokens,
            "database.password_file": cls.password,
            "database.sslkey": cls.database_key,
        }

    def production(self):
        return {"server.environment": "production", "database.host": self.postgres.folder,
                "tls.cert_file": self.cert, "tls.client_ca_file": self.authority.cert,
                "tls.client_certificates": "optional", "access.anonymous_roles": "off",
                "access.writers": "token:ci", "database.sslcert": self.database_cert, **self.files}

    def run_settings(self, *args):
        settings = {**self.postgres.daemon_settings(), "server.listen": "127.0.0.1:0",
                    "http.listen": "off", **self.production()}
        return harness.run_daemon(*args, settings=settings)

    def test_each_file_that_everybody_may_read_or_change_is_refused(self):
        for setting, path in self.files.items():
            mode = path.stat().st_mode & 0o777
            for others in (0o004, 0o002):
                path.chmod(mode | others)
                with self.subTest(setting=setting, others=others):
                    done = self.run_settings()
                    self.assertEqual(1, done.returncode, done.stderr)
                    self.assertRegex(done.stderr,
                                     rf'everybody may read or change .*{path}.*: chmod o= it')
            path.chmod(mode)

    def test_a_migration_refuses_those_that_it_would_use(self):
        for path in (self.password, self.database_key):
            mode = path.stat().st_mode & 0o777
            path.chmod(mode | 0o004)
            self.addCleanup(path.chmod, mode)
            done = self.run_settings("migrate")
            self.assertEqual(1, done.returncode, done.stderr)
            self.assertRegex(done.stderr, rf'everybody may read or change .*{path}.*: chmod o= it')
            path.chmod(mode)
        done = self.run_settings("migrate")
        self.assertEqual(0, done.returncode, done.stderr)

    def test_a_reload_refuses_them(self):
        caller = self.token("ci")
        daemon = self.start(self.production(), {"database.host": self.postgres.folder})
        exposed = self.folder / "exposed"
        exposed.write_text("secret\n", encoding="ascii")
        exposed.chmod(0o604)
        for setting in ("database.password_file", "database.sslkey"):
            self.reload(daemon, {**self.production(), setting: exposed, "access.writers": "cn:x"},
                        until="settings not reloaded")
            last = [line for line in daemon.log().splitlines() if "settings not" in line][-1]
            self.assertRegex(last, f"{setting}: everybody may read or change .*{exposed}")
            self.assertEqual("OK", self.call(daemon, access.WRITE, caller))
        self.assertNotIn("settings reloaded", daemon.log())
        exposed.chmod(0o600)
        self.reload(daemon, {**self.production(), "database.password_file": exposed})
        self.assertEqual("OK", self.call(daemon, access.WRITE, caller))

    def test_development_warns_of_each(self):
        for path in self.files.values():
            path.chmod(path.stat().st_mode | 0o004)
            self.addCleanup(path.chmod, path.stat().st_mode & 0o773)
        daemon = self.start({key: path for key, path in self.files.items() if "ssl" not in key})
        for path in self.files.values():
            if path != self.database_key:
                self.assertRegex(daemon.log(), rf"everybody may read or change .*file={path}")

    def test_it_serves_those_who_show_who_they_are(self):
        caller = self.token("ci")
        settings = {**self.production(), "http.listen": "127.0.0.1:0"}
        daemon = self.start_daemon(
            settings, credentials=grpc.ssl_channel_credentials(self.authority.cert.read_bytes()))
        self.assertEqual("OK", self.call(daemon, access.WRITE, caller))
        self.assertEqual("UNAUTHENTICATED", self.call(daemon, access.WRITE, access.ANONYMOUS))

    def test_a_token_file_that_becomes_readable_for_all_is_not_read_again(self):
        caller = self.token("ci")
        daemon = self.start(self.production(), {"database.host": self.postgres.folder})
        self.tokens.chmod(0o644)
        self.addCleanup(self.tokens.chmod, 0o640)
        late = self.token("ci")
        self.reload(daemon, self.production(), until="tokens not reloaded")
        self.assertEqual(["OK", "UNAUTHENTICATED"],
                         [self.call(daemon, access.WRITE, who) for who in (caller, late)])


if __name__ == "__main__":
    unittest.main()
