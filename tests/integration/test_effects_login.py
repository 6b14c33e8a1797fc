"""What the daemon shows PostgreSQL, and what it demands of it: passwords, TLS, read-write sessions."""

import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness, slow_store  # noqa: E402
from support.effects import effect_of  # noqa: E402
from support.fatal_server import FatalServer  # noqa: E402


class StartTest(slow_store.PoolCase):
    @effect_of("database.startup")
    def test_a_missing_server_is_waited_for_or_ends_the_start(self):
        server = FatalServer("57P03")
        self.addCleanup(server.close)
        waiting = self.start({}, wait_serving=False, port=server.port)
        settings = {**self.postgres.daemon_settings(), "server.listen": "127.0.0.1:0",
                    "http.listen": "off", "database.port": server.port, "database.startup": "require"}
        done = harness.run_daemon(settings=settings)
        self.assertEqual(1, done.returncode)
        self.assertIn("57P03", done.stderr)
        harness.wait_until(lambda: "waiting for PostgreSQL" in waiting.log())
        self.assertIsNone(waiting.process.poll())


class LoginTest(slow_store.PoolCase):
    """Passwords and TLS: what the server demands, and what it sees."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        data = cls.folder / "pg" / "data"

        def run(*args):
            subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=cls.folder)
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("req", "-x509", *ec, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt")
        for name, common_name in (("server", "localhost"), ("client", "certified")):
            run("req", *ec, "-subj", f"/CN={common_name}", "-addext", "subjectAltName=DNS:localhost",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
            run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
                "-CAcreateserial", "-copy_extensions", "copy", "-out", f"{name}.crt")
        owner = (data / "PG_VERSION").stat()
        for name in ("server.key", "server.crt", "ca.crt"):
            (data / name).write_bytes((cls.folder / name).read_bytes())
            (data / name).chmod(0o600)
            os.chown(data / name, owner.st_uid, owner.st_gid)
        hba = data / "pg_hba.conf"
        hba.write_text("hostssl all certified 127.0.0.1/32 cert\n"
                       "host all guarded 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        for sql in ("ALTER SYSTEM SET ssl = on", "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'",
                    "CREATE ROLE certified LOGIN SUPERUSER",
                    "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'sesame'",
                    "SELECT pg_reload_conf()"):
            cls.observer.run(sql)

    def refused(self, **server):
        settings = {**self.postgres.daemon_settings(), "server.listen": "127.0.0.1:0",
                    "http.listen": "off", "database.startup": "require",
                    **{f"database.{key}": value for key, value in server.items()}}
        done = harness.run_daemon(settings=settings)
        self.assertEqual(1, done.returncode, done.stderr)
        return done.stderr

    def uses_tls(self, daemon):
        return self.observer.rows("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                                  " WHERE application_name = %s", daemon.application)

    @effect_of("database.password_file")
    def test_the_password_is_the_files(self):
        secret = self.folder / "sesame"
        secret.write_text("sesame\n")
        self.assertIn("password", self.refused(user="guarded"))
        self.start({}, user="guarded", password_file=secret)

    @effect_of("database.sslmode")
    def test_sslmode_decides_on_tls(self):
        self.assertEqual([(False,)], self.uses_tls(self.start({}, sslmode="disable")))
        self.assertEqual([(True,)], self.uses_tls(self.start({}, sslmode="require")))

    @effect_of("database.sslrootcert")
    def test_the_root_certificate_is_what_is_trusted(self):
        strict = {"host": "localhost", "sslmode": "verify-full"}
        self.assertIn("certificate", self.refused(**strict, sslrootcert=self.folder / "client.crt"))
        self.start({}, **strict, sslrootcert=self.folder / "ca.crt")

    @effect_of("database.sslcert", "database.sslkey")
    def test_the_certificate_is_what_the_role_is_known_by(self):
        certified = {"host": "localhost", "sslmode": "require", "user": "certified"}
        self.assertIn("certificate", self.refused(**certified))
        self.assertIn("key", self.refused(**certified, sslcert=self.folder / "client.crt",
                                          sslkey=self.folder / "ca.key"))
        self.start({}, **certified, sslcert=self.folder / "client.crt",
                   sslkey=self.folder / "client.key")

    @effect_of("database.target_session_attrs")
    def test_a_server_that_takes_no_writes_will_do_or_not(self):
        self.observer.run("ALTER ROLE guarded SET default_transaction_read_only = on")
        secret = self.folder / "sesame"
        secret.write_text("sesame\n")
        reader = {"user": "guarded", "password_file": secret}
        self.assertIn("read-only", self.refused(**reader))
        daemon = self.start({}, wait_serving=False, **reader, target_session_attrs="any")
        harness.wait_until(lambda: self.observer.count(daemon.application) > 0)
        self.observer.run("ALTER ROLE guarded RESET default_transaction_read_only")


if __name__ == "__main__":
    unittest.main(verbosity=2)
