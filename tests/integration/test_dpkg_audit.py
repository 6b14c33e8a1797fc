"""The example dpkg_audit: each kind of line, running it again, and its refusals."""

import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

LOG = """\
2026-03-01 12:00:00 startup archives unpack
2026-03-01 12:00:01 install tree:amd64 <none> 2.1.0-1
2026-03-01 12:00:01 status half-installed tree:amd64 2.1.0-1
2026-03-01 12:00:02 upgrade bash:amd64 5.2.14 5.2.15
2026-03-01 12:00:03 status installed bash:amd64 5.2.15
2026-03-01 12:00:03 status installed bash:amd64 5.2.15
2026-03-01 12:00:04 conffile /etc/bash.bashrc keep
2026-03-01 12:00:05 startup packages remove
2026-03-01 12:00:06 remove na"me\\me:all 1.0 <none>
not a line of dpkg
"""


class DpkgAuditTest(harness.StoreCase):
    settings = {"ingest.max_event_age": "off"}

    def run_it(self, *args, timezone="UTC", code=0):
        done = subprocess.run(
            [str(harness.EXAMPLES / "dpkg_audit"), "--server", self.daemon.address,
             *map(str, args)],
            capture_output=True, text=True, check=False, timeout=60,
            env={"TZ": timezone, "PATH": "/usr/bin:/bin"})
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        return done

    def write_log(self, text, name):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def events(self, since, until):
        done = harness.run_tool(self.daemon.address, "list", "--json", "--oldest-first", "--limit",
                                "0", "--since", since, "--until", until)
        return [json.loads(line)["event"] for line in done.stdout.splitlines()]

    def test_lines_become_events_and_none_is_stored_twice(self):
        path = self.write_log(LOG, "dpkg.log")
        first = self.run_it(path)
        self.assertIn("batch   1:   9 events stored in ledger", first.stdout)
        self.assertIn("acknowledged 9: stored now 9, already stored 0; refused 0", first.stdout)
        again = self.run_it(path)
        self.assertIn("already in ledger", again.stdout)
        self.assertIn("acknowledged 9: stored now 0, already stored 9; refused 0", again.stdout)

        events = self.events("2026-03-01T12:00:00Z", "2026-03-01T12:00:07Z")
        self.assertEqual(len(events), 9)
        by_type = {}
        for event in events:
            by_type.setdefault(event["event_type"], []).append(event)
        (install,) = by_type["package.install"]
        self.assertEqual(install["event_time"], "2026-03-01T12:00:01Z")
        self.assertEqual(install["resource"]["id"], "tree:amd64")
        self.assertEqual(install["event_data"], {"to": "2.1.0-1"})
        (upgrade,) = by_type["package.upgrade"]
        self.assertEqual(upgrade["event_data"], {"from": "5.2.14", "to": "5.2.15"})
        self.assertEqual(upgrade["actor"], {"type": "program", "id": "dpkg"})
        # The same line twice is two events.
        self.assertEqual([e["outcome"] for e in by_type["package.status"]],
                         ["OUTCOME_PENDING", "OUTCOME_SUCCESS", "OUTCOME_SUCCESS"])
        self.assertEqual(by_type["file.conffile"][0]["resource"]["id"], "/etc/bash.bashrc")
        (remove,) = by_type["package.remove"]
        self.assertEqual(remove["resource"]["id"], 'na"me\\me:all')
        self.assertEqual(remove["event_data"], {"from": "1.0"})
        startups = by_type["host.startup"]
        self.assertEqual(install["correlation_id"], startups[0]["event_id"])
        self.assertEqual(remove["correlation_id"], startups[1]["event_id"])

    def test_local_time_becomes_utc(self):
        path = self.write_log("2026-07-01 12:00:00 install a:all <none> 1\n", "summer.log")
        self.run_it(path, timezone="Europe/Berlin")
        (event,) = self.events("2026-07-01T00:00:00Z", "2026-07-02T00:00:00Z")
        self.assertEqual(event["event_time"], "2026-07-01T10:00:00Z")

    def test_many_batches_are_all_acknowledged(self):
        lines = [f"2026-05-01 00:{n // 60:02d}:{n % 60:02d} install p{n}:all <none> 1\n"
                 for n in range(2500)]
        done = self.run_it(self.write_log("".join(lines), "many.log"))
        self.assertIn("acknowledged 2500: stored now 2500", done.stdout)
        self.assertEqual(len(self.events("2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z")), 2500)

    def test_without_a_log_it_says_that_events_are_generated(self):
        done = self.run_it("--generate", 150, self.folder / "none.log")
        self.assertIn("is missing or empty: sending 150 generated events", done.stdout)
        self.assertIn("acknowledged 150: stored now 150", done.stdout)
        done = self.run_it(self.folder / "none.log", code=1)
        self.assertIn("--generate N", done.stderr)

    def test_a_refused_event_is_told_and_fails(self):
        long_name = "p" * 300
        done = self.run_it(self.write_log(
            f"2026-06-01 12:00:00 install {long_name} <none> 1\n"
            "2026-06-01 12:00:01 install good <none> 1\n", "bad.log"), code=1)
        self.assertIn("events[0].resource.id", done.stderr)
        self.assertIn("stored now 1, already stored 0; refused 1", done.stdout)

    def test_nobody_there(self):
        done = subprocess.run([str(harness.EXAMPLES / "dpkg_audit"), "--server", "127.0.0.1:1"],
                              capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("127.0.0.1:1", done.stderr)


if __name__ == "__main__":
    unittest.main()
