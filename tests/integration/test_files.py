"""All files that the settings name: looked at by --check-config as by a start, and whose they may be."""

import os
import pathlib
import re
import signal
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402
from support.key_files import KeyFiles  # noqa: E402
from support.tls_case import TlsCase  # noqa: E402

ROWS = re.findall(r"^KEY\((\w+), (\w+), (\w+),",
                  (harness.ROOT / "src" / "config" / "keys.def").read_text(), re.MULTILINE)
PATHS = {f"{section}.{name}" for section, name, kind in ROWS if kind == "PATH"}
SECRETS = ("tls.key_file", "access.token_file", "database.password_file", "database.sslkey",
           "ledger.signing_key_file")
STRANGER = 65534


class CheckCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.files = KeyFiles(cls.folder)
        cert, key = cls.files.ec
        client_cert, client_key = cls.files.authority.issue("client")
        signing_key = cls.folder / "signing.pem"
        done = harness.run_daemon("keygen", signing_key)
        ca = cls.files.authority.cert
        cls.good = {
            "server.port_file": cls.folder / "port", "http.port_file": cls.folder / "http_port",
            "tls.cert_file": cert, "tls.key_file": key, "tls.client_ca_file": ca,
            "access.token_file": cls.files.put("tokens", b"# nobody\n"),
            "database.password_file": cls.files.put("password", b"secret\n"),
            "database.sslrootcert": ca, "database.sslcert": client_cert,
            "database.sslkey": client_key, "ledger.signing_key_file": signing_key,
            "ledger.trusted_keys_file": cls.files.put("trusted.pem", done.stdout.encode()),
            "ledger.memory_file": cls.folder / "memory",
        }
        cls.more = {"tls.client_certificates": "optional"}

    def check(self, changes=None):
        settings = {**self.more, **self.good, **(changes or {})}
        return harness.run_daemon("--check-config", settings=settings)


class CheckConfigTest(CheckCase):
    def test_each_setting_of_a_file_is_known_as_one(self):
        named = {f"{section}.{name}" for section, name, _ in ROWS
                 if re.search(r"file|folder|path|cert$|key$", name)}
        self.assertEqual(named, PATHS)
        self.assertEqual(PATHS, set(self.good))

    def test_good_files_are_taken_without_a_word(self):
        done = self.check()
        self.assertEqual((0, "", ""), (done.returncode, done.stdout, done.stderr))

    def test_each_file_is_looked_at(self):
        for key in sorted(PATHS):
            with self.subTest(key):
                bad = f"/nowhere/{key}"
                done = self.check({key: bad})
                self.assertEqual(2, done.returncode, done.stderr)
                self.assertIn(bad, done.stderr)

    def test_all_faults_are_told_at_once(self):
        apart = PATHS - {"tls.key_file", "tls.client_ca_file", "database.sslcert"}
        done = self.check({key: f"/nowhere/{key}" for key in apart})
        self.assertEqual(2, done.returncode)
        for key in apart:
            self.assertIn(f"/nowhere/{key}", done.stderr)

    def test_content_is_looked_at(self):
        for key, data, said in (
                ("access.token_file", b"ci 00\n", ":1: must be NAME"),
                ("access.token_file", b"", "is empty"),
                ("access.token_file", b"# no end", "half a file"),
                ("ledger.signing_key_file", b"x", "no Ed25519 private key"),
                ("ledger.trusted_keys_file", b"x", "neither a key"),
                ("ledger.memory_file", b"x", "torn or was edited"),
                ("database.password_file", b"a\0b", "NUL"),
                ("database.sslrootcert", b"", "is empty"),
                ("tls.client_ca_file", b"text", "isn't PEM")):
            with self.subTest(key=key, said=said):
                done = self.check({key: self.files.put("content", data)})
                self.assertEqual(2, done.returncode, done.stderr)
                self.assertRegex(done.stderr, f"{key.split('.')[0]}.*{said}")

    def test_a_key_that_libpq_would_refuse_is_refused(self):
        key = self.files.put("lax-key", self.good["database.sslkey"].read_bytes())
        key.chmod(0o660)
        done = self.check({"database.sslkey": key})
        self.assertEqual(2, done.returncode)
        self.assertIn("libpq takes no key with the mode 0660", done.stderr)


class PairsTest(CheckCase):
    def say(self, cert, key):
        done = self.check({f"{self.section}.{self.cert}": cert, f"{self.section}.{self.key}": key})
        self.assertEqual(2, done.returncode, done.stderr)
        return done.stderr

    def test_of_the_server(self):
        self.section, self.cert, self.key = "tls", "cert_file", "key_file"
        self.files.check(self)

    def test_of_the_database(self):
        self.section, self.cert, self.key = "database", "sslcert", "sslkey"
        self.files.check(self)


@unittest.skipUnless(os.geteuid() == 0, "only root can give files away")
class OwnersTest(CheckCase):
    def test_secrets_of_another_user_are_refused(self):
        for key in SECRETS:
            with self.subTest(key):
                copy = self.files.put(f"foreign-{key}", self.good[key].read_bytes())
                os.chown(copy, STRANGER, -1)
                link = self.folder / f"link-{key}"
                link.symlink_to(copy)
                for path in (copy, link):
                    done = self.check({key: path})
                    self.assertEqual(2, done.returncode, done.stderr)
                    self.assertIn(f'another user owns "{path}"', done.stderr)

    def test_those_of_root_and_ones_own_are_taken(self):
        """The check is run by another user, whose the files are, but for one."""
        folder = self.folder / "theirs"
        folder.mkdir()
        os.chown(folder, STRANGER, STRANGER)
        program = folder / "auditstored"
        shutil.copy(harness.DAEMON, program)
        token_file = folder / "tokens"
        token_file.write_text("# nobody\n")
        password = folder / "password"
        password.write_text("secret\n")
        for path, owner in ((program, 0), (token_file, STRANGER), (password, 0)):
            os.chown(path, owner, STRANGER)
            path.chmod(0o750 if path == program else 0o640)
        done = subprocess.run(
            [str(program), "--check-config", *harness.options_of({
                "access.token_file": token_file, "database.password_file": password})],
            capture_output=True, text=True, user=STRANGER, group=STRANGER, extra_groups=[],
            check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_a_folder_of_others_is_warned_of_and_refused_in_production(self):
        for name, owner, mode in (("foreign", STRANGER, 0o755), ("open", 0, 0o777)):
            folder = self.folder / name
            folder.mkdir()
            path = folder / "tokens"
            path.write_text("# nobody\n")
            path.chmod(0o640)
            os.chown(folder, owner, -1)
            folder.chmod(mode)
            with self.subTest(name):
                done = self.check({"access.token_file": path})
                self.assertEqual(0, done.returncode, done.stderr)
                self.assertRegex(done.stderr, f"others may replace.*{path}")
                done = self.check({"access.token_file": path, "server.environment": "production",
                                   "database.sslmode": "verify-full",
                                   "access.anonymous_roles": "off", "access.writers": "cn:x"})
                self.assertEqual(2, done.returncode, done.stderr)
                self.assertIn(f'others may replace "{path}"', done.stderr)
        (self.folder / "open").chmod(0o1777)
        done = self.check({"access.token_file": self.folder / "open" / "tokens"})
        self.assertEqual((0, ""), (done.returncode, done.stderr))


class StartTest(TlsCase):
    """What --check-config finds ends a start, and changes nothing at a reload."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "pairs").mkdir()
        cls.files = KeyFiles(cls.folder / "pairs")

    def say(self, cert, key):
        done = harness.run_daemon(settings={**self.postgres.daemon_settings(), "http.listen": "off",
                                            "server.listen": "127.0.0.1:0", "tls.cert_file": cert,
                                            "tls.key_file": key})
        self.assertEqual(1, done.returncode, done.stderr)
        return done.stderr.replace('\\"', '"')

    def test_a_pair_that_is_no_use_ends_the_start(self):
        self.files.check(self)

    def test_a_renewal_that_is_half_done_keeps_the_old_pair(self):
        cert, key = self.folder / "live.pem", self.folder / "live-key.pem"
        shutil.copy(self.cert, cert)
        shutil.copy(self.key, key)
        daemon = self.start({"tls.cert_file": cert, "tls.key_file": key})
        for number, (new_cert, new_key, said) in enumerate(self.files.bad.values()):
            for source, path in ((new_cert, cert), (new_key, key)):
                path.unlink()
                if source.exists():
                    shutil.copy(source, path)
            daemon.signal(signal.SIGHUP)
            harness.wait_until(
                lambda number=number: daemon.log().count("TLS certificate not reloaded") > number)
            self.assertTrue(self.is_served(daemon))
        self.assertRegex(daemon.log(), "TLS certificate not reloaded.*is for RSA.*is EC")

    def test_a_pair_for_the_database_that_is_no_use_ends_the_start_and_refuses_a_reload(self):
        config = self.folder / "database.yaml"
        cert, key, said = self.files.bad["kinds"]
        bad = {"database.sslcert": cert, "database.sslkey": key}
        done = harness.run_daemon(settings={**self.postgres.daemon_settings(), **bad})
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stderr.replace('\\"', '"'), f"database.sslkey: {said}")
        harness.write_config(config, {"query.max_page_size": 500})
        daemon = self.start_daemon(config=config)
        harness.write_config(config, {"query.max_page_size": 400, **bad})
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "settings not reloaded" in daemon.log())
        self.assertIn("is for RSA", daemon.log())


class ToolTest(TlsCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "pairs").mkdir()
        cls.files = KeyFiles(cls.folder / "pairs")
        cls.daemon = harness.Daemon(
            cls.folder, cls.postgres,
            {"tls.cert_file": cls.cert, "tls.key_file": cls.key,
             "tls.client_ca_file": cls.files.authority.cert, "tls.client_certificates": "optional"},
            wait_serving=False)
        cls.addClassCleanup(cls.daemon.stop)

    def say(self, cert, key):
        done = harness.run_tool(self.daemon.address, "--timeout", "20s", "--ca", self.authority.cert,
                                "--cert", cert, "--key", key, "health")
        self.assertNotEqual(0, done.returncode, done.stdout)
        return done.stderr

    def test_it_never_goes_without_the_certificate_asked_for(self):
        self.files.check(self)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give files away")
    def test_secrets_of_another_user_are_refused(self):
        cert, key = self.files.authority.issue("given")
        os.chown(key, STRANGER, -1)
        self.assertIn("another user owns it", self.say(cert, key))


if __name__ == "__main__":
    unittest.main()
