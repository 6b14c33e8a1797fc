"""GetServerInfo and `auditstore info`: a running daemon tells what it runs with."""

import json
import pathlib
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import events, harness  # noqa: E402


def reference_keys():
    """The keys of docs/configuration.md in its order: {key: is it changed by a reload}"""
    keys = {}
    section = None
    for line in (harness.ROOT / "docs" / "configuration.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.split("|")]
            keys[f"{section}.{cells[1].strip('`')}"] = cells[4] == "yes"
    return keys


class InfoCase(harness.PostgresCase):
    def start_with(self, settings, **more):
        """A daemon whose settings are in a file, except those that the harness needs."""
        config = self.folder / f"{self.id().rsplit('.', 1)[1]}.yaml"
        harness.write_config(config, settings)
        daemon = self.start_daemon(config=config, **more)
        daemon.config = config
        return daemon

    def info(self, daemon):
        with daemon.channel() as channel:
            return self.stubs.admin_grpc.AdminStub(channel).GetServerInfo(
                self.stubs.admin.GetServerInfoRequest(), timeout=30)

    def setting(self, daemon, key):
        return next(s for s in self.info(daemon).settings if s.key == key)

    def shown(self, daemon, key):
        setting = self.setting(daemon, key)
        return setting.value, setting.source


class SettingsTest(InfoCase):
    def test_every_setting_is_told_as_print_config_and_the_reference_do(self):
        daemon = self.start_with({"database.max_open_conns": 4, "database.max_idle_conns": 9,
                                  "query.timeout": "7s"})
        settings = self.info(daemon).settings
        self.assertEqual(list(reference_keys().items()), [(s.key, s.reloadable) for s in settings])
        done = harness.run_daemon("--config", daemon.config, "--print-config",
                                  settings=daemon.settings)
        self.assertEqual(done.stdout.splitlines(),
                         [f"{s.key} = {s.value}  # {s.source}" for s in settings])
        for setting in settings:
            with self.subTest(key=setting.key):
                self.assertTrue(setting.allowed)
                self.assertRegex(setting.help, r"\w+.*\.$")
                if setting.source == "default":
                    self.assertEqual(setting.default_value, setting.value)

    def test_each_kind_of_source_is_told(self):
        daemon = self.start_with({"database.max_open_conns": 4, "database.max_idle_conns": 9,
                                  "query.timeout": "7s"})
        expected = {
            "database.max_open_conns": ("4", f"{daemon.config}:2"),
            "database.max_idle_conns": ("4", f"clamped from 9, {daemon.config}:3"),
            "query.timeout": ("7s", f"{daemon.config}:5"),
            "query.max_page_size": ("1000", "default"),
            "database.port": (str(self.postgres.port), "command line"),
        }
        for key, value_and_source in expected.items():
            self.assertEqual(value_and_source, self.shown(daemon, key), key)
        harness.write_config(daemon.config, {"database.max_open_conns": 6, "query.timeout": "7s"})
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "settings reloaded" in daemon.log())
        self.assertEqual(("6", f"reload {daemon.config}:2"),
                         self.shown(daemon, "database.max_open_conns"))
        self.assertEqual(("5", "reload default"), self.shown(daemon, "database.max_idle_conns"))
        self.assertEqual(("7s", f"{daemon.config}:4"), self.shown(daemon, "query.timeout"))

    def test_no_password_is_told(self):
        secret = self.folder / "secret"
        secret.write_text("correct-horse-battery", encoding="ascii")
        daemon = self.start_with({"database.password_file": secret})
        info = self.info(daemon)
        self.assertIn(str(secret), str(info))
        self.assertNotIn("correct-horse-battery", str(info))

    def test_a_file_whose_name_is_no_text_is_told_all_the_same(self):
        config = pathlib.Path(bytes(self.folder).decode() + "/\udcff\udcfe name\udcc3.yaml")
        config.write_text("query:\n  timeout: 7s\n", encoding="ascii")
        daemon = self.start_daemon(config=config)
        self.assertEqual(("7s", f"{self.folder}/?? name?.yaml:2"),
                         self.shown(daemon, "query.timeout"))


class PoolTest(InfoCase):
    @staticmethod
    def counts(counts):
        return {count.name: count.count for count in counts}

    def test_the_pool_s_numbers_are_those_of_the_metrics(self):
        daemon = self.start_with({"database.max_open_conns": 7, "database.max_idle_conns": 3})
        stub = self.open_stub(daemon)
        for _ in range(3):
            stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)]), timeout=30)
        pool = self.info(daemon).pool
        metrics = daemon.metrics()
        self.assertEqual((7, 7, 3), (pool.max_open, pool.effective_max_open, pool.max_idle))
        self.assertEqual(pool.open, pool.in_use + pool.idle)
        self.assertEqual(pool.open, pool.opened - sum(self.counts(pool.closed).values()))
        self.assertGreaterEqual(self.counts(pool.acquires)["ok"], 3)
        for family, label, counts in (("acquires", "result", pool.acquires),
                                      ("open_failures", "class", pool.open_failures),
                                      ("closed", "reason", pool.closed)):
            names = {re.search('"(.*)"', name).group(1) for name in metrics
                     if name.startswith(f"auditstore_pool_{family}_total{{{label}=")}
            self.assertEqual(names, set(self.counts(counts)), family)
        self.assertEqual(metrics["auditstore_pool_memory_bytes"], pool.memory_bytes)
        self.assertEqual(self.stubs.admin.POOL_STATE_UP, pool.state)

    def test_postgresql_s_own_limits_and_the_start_are_told(self):
        before = time.time()
        daemon = self.start_with({})
        info = self.info(daemon)
        self.assertEqual(int(self.postgres.value("SHOW server_version_num")), info.postgres.version)
        self.assertEqual(int(self.postgres.value("SHOW max_connections")),
                         info.postgres.max_connections)
        self.assertLess(0, info.postgres.usable_connections)
        started = info.started_at.ToMicroseconds() / 1e6
        self.assertTrue(before - 1 <= started <= time.time() + 1, (before, started))
        done = harness.run_daemon("--version")
        self.assertEqual(f"auditstored {info.version}\n", done.stdout)


class AwayTest(InfoCase):
    """Other services wait for PostgreSQL; this one tells what they wait for."""

    def test_it_answers_while_postgresql_is_away_at_the_start(self):
        self.postgres.stop()
        self.addCleanup(self.postgres.restart)
        daemon = self.start_with({"query.timeout": "7s"}, wait_serving=False)
        harness.wait_until(lambda: self.info(daemon).pool.state == self.stubs.admin.POOL_STATE_DOWN)
        info = self.info(daemon)
        self.assertFalse(info.HasField("postgres"))
        self.assertLess(0, PoolTest.counts(info.pool.open_failures)["refused"])
        self.assertEqual(("7s", f"{daemon.config}:2"), self.shown(daemon, "query.timeout"))
        done = harness.run_tool(daemon.address, "info")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^pool +DOWN$")
        with self.assertRaises(Exception) as caught:
            self.open_stub(daemon).GetEvent(self.stubs.store.GetEventRequest(), timeout=30)
        self.assertIn("UNAVAILABLE", str(caught.exception))


class ToolTest(InfoCase):
    def run_info(self, daemon, *args, env=None):
        done = harness.run_tool(daemon.address, "info", *args, env=env)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        return done.stdout

    def test_json_is_the_answer_in_full(self):
        daemon = self.start_with({"query.timeout": "7s"})
        (line,) = self.run_info(daemon, "--json").splitlines()
        shown = json.loads(line)
        info = self.info(daemon)
        self.assertEqual(info.version, shown["version"])
        self.assertEqual([(s.key, s.value, s.source, s.default_value, s.allowed, s.help)
                          for s in info.settings],
                         [(s["key"], s.get("value", ""), s["source"], s.get("default_value", ""),
                           s["allowed"], s["help"]) for s in shown["settings"]])
        self.assertEqual([s.reloadable for s in info.settings],
                         [s.get("reloadable", False) for s in shown["settings"]])
        self.assertEqual("POOL_STATE_UP", shown["pool"]["state"])
        self.assertEqual([count.name for count in info.pool.closed],
                         [count["name"] for count in shown["pool"]["closed"]])
        self.assertEqual(info.postgres.max_connections, shown["postgres"]["max_connections"])

    def test_the_pool_and_each_setting_have_a_line(self):
        daemon = self.start_with({"database.max_open_conns": 7})
        text = self.run_info(daemon)
        self.assertRegex(text, r"(?m)^version +\d+\.\d+\.\d+$")
        self.assertRegex(text, r"(?m)^started at +\d{4}-\d\d-\d\dT")
        self.assertRegex(text, r"(?m)^pool +UP$")
        self.assertRegex(text, r"(?m)^connections +\d+ \(\d+ in use, \d+ idle\) of 7")
        self.assertRegex(text, r"(?m)^acquires +\d+ \(ok \d+")
        self.assertRegex(text, r"(?m)^open failures +0$")
        self.assertRegex(text, r"(?m)^PostgreSQL +\d+\.\d+, max_connections \d+, usable \d+$")
        self.assertRegex(text, rf"(?m)^database.max_open_conns +7 +{daemon.config}:2 +25 +reload +1 to")
        self.assertRegex(text, r"(?m)^server.max_connections +1000 +default +1000 +restart +1 to 100000")
        lines = text.splitlines()
        header = next(i for i, line in enumerate(lines) if line.startswith("SETTING"))
        self.assertEqual(list(reference_keys()), [line.split()[0] for line in lines[header + 1:]])

    def test_the_settings_keep_to_the_width(self):
        daemon = self.start_with({})
        text = self.run_info(daemon, env={"COLUMNS": "90"})
        settings = text[text.index("SETTING"):].splitlines()
        self.assertLessEqual(max(map(len, settings)), 90)
        self.assertGreater(len(settings), len(reference_keys()))

    def test_wrong_usage_and_nobody_there_are_told(self):
        for args in (["--nonsense"], ["more"]):
            self.assertEqual(2, harness.run_tool("127.0.0.1:1", "info", *args).returncode, args)
        self.assertEqual(3, harness.run_tool("127.0.0.1:1", "info").returncode)


if __name__ == "__main__":
    unittest.main(verbosity=2)
