"""Prometheus's own tool reads our metrics and alert rules, and each alert fires when it should."""

import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

RULES = harness.ROOT / "packaging" / "prometheus" / "auditstore.rules.yml"

# Series of a daemon that is well, each minute.
HEALTHY = {
    "auditstore_ready": "1+0x30",
    'auditstore_pool_state{state="up"}': "1+0x30",
    'auditstore_pool_state{state="down"}': "0+0x30",
    'auditstore_pool_state{state="frozen"}': "0+0x30",
    'auditstore_pool_refusals_total{sqlstate="53100"}': "0+0x30",
    'auditstore_pool_refusals_total{sqlstate="53200"}': "0+0x30",
    'auditstore_pool_refusals_total{sqlstate="42501"}': "0+0x30",
    "auditstore_log_dropped_total": "5+0x30",
    "auditstore_log_failing": "0+0x30",
    "auditstore_ledger_suspects_total": "1+0x30",
    'auditstore_ingest_batches_total{result="altered"}': "1+0x30",
    "auditstore_ledger_memory_unwritten_seconds": "0.5+0x30",
    "auditstore_clock_difference_seconds": "0.002+0x30",
    "auditstore_clock_refusals_total": "3+0x30",
    "auditstore_pool_waiters": "0+0x30",
    "auditstore_pool_in_use": "2+0x30",
    "auditstore_pool_open": "4+0x30",
    "auditstore_pool_max_open": "10+0x30",
    "auditstore_pool_effective_max_open": "10+0x30",
    "auditstore_pool_oldest_wait_seconds": "0+0x30",
    "auditstore_pool_acquire_timeout_seconds": "5+0x30",
    "auditstore_pool_opened_total": "4+1x30",
    'auditstore_pool_closed_total{reason="max_idle"}': "0+1x30",
    'auditstore_access_denied_total{reason="role_missing"}': "0+20x30",
    'auditstore_access_denied_total{reason="credentials_invalid"}': "0+20x30",
    'auditstore_access_denial_records_total{result="lost"}': "7+0x30",
}

# What differs when something is wrong, the alert that says so, and the minute at which it fires.
CASES = (
    ("AuditstoreNotReady", 3, {"auditstore_ready": "1 0+0x30"}),
    ("AuditstoreDatabaseDown", 3, {'auditstore_pool_state{state="down"}': "0 1+0x30"}),
    ("AuditstoreDatabaseDown", 3, {'auditstore_pool_state{state="frozen"}': "0 1+0x30"}),
    ("AuditstoreDatabaseFull", 2, {'auditstore_pool_refusals_total{sqlstate="53100"}': "0 1+0x30"}),
    ("AuditstoreDatabaseFull", 2, {'auditstore_pool_refusals_total{sqlstate="53200"}': "0 1+0x30"}),
    ("AuditstoreDatabaseRefuses", 12, {'auditstore_pool_refusals_total{sqlstate="42501"}': "0+2x30"}),
    ("AuditstoreLogDropped", 2, {"auditstore_log_dropped_total": "5 6+0x30"}),
    ("AuditstoreLogDropped", 2, {"auditstore_log_failing": "0 1+0x30"}),
    ("AuditstoreRowsAltered", 2, {'auditstore_ingest_batches_total{result="altered"}': "1 2+0x30"}),
    ("AuditstoreLedgerSuspect", 2, {"auditstore_ledger_suspects_total": "1 2+0x30"}),
    # The other alert on the clocks waits a minute longer.
    ("AuditstoreClockRefusals", 1, {"auditstore_clock_difference_seconds": "0 -7200+0x30",
                                    "auditstore_clock_refusals_total": "3 4+0x30"}),
    ("AuditstoreClockDiffers", 3, {"auditstore_clock_difference_seconds": "0 -1.1+0x30"}),
    ("AuditstorePoolExhausted", 3, {"auditstore_pool_waiters": "0 3+0x30",
                                    "auditstore_pool_in_use": "2 10+0x30"}),
    ("AuditstorePoolSlow", 1, {"auditstore_pool_oldest_wait_seconds": "0 2.6+0x30"}),
    ("AuditstorePoolChurn", 12, {'auditstore_pool_closed_total{reason="max_idle"}': "0+61x30"}),
    ("AuditstorePoolReconnects", 25, {"auditstore_pool_opened_total": "4+3x30"}),
    ("AuditstoreLedgerMemoryBehind", 3, {"auditstore_ledger_memory_unwritten_seconds": "0 40+0x30"}),
    ("AuditstoreAccessDenied", 12, {'auditstore_access_denied_total{reason="credentials_invalid"}': "0+41x30"}),
    ("AuditstoreDenialsLost", 1, {'auditstore_access_denial_records_total{result="lost"}': "7 8+0x30"}),
    ("AuditstorePoolCeilingLowered", 3, {"auditstore_pool_effective_max_open": "10 9+0x30"}),
)
ALERTS = {alert for alert, _, _ in CASES}

# Nearly as bad: no alert.
CLOSE_CALLS = {
    "one minute is not over": (1, {"auditstore_ready": "1 0+0x30"}),
    "waiters with connections to spare": (10, {"auditstore_pool_waiters": "3+0x30",
                                               "auditstore_pool_in_use": "9+0x30"}),
    "a second between the clocks": (25, {"auditstore_clock_difference_seconds": "1+0x30"}),
    "a refusal by clocks that nearly agree": (1, {"auditstore_clock_refusals_total": "3 4+0x30"}),
    "all in use, nobody waits": (10, {"auditstore_pool_in_use": "10+0x30"}),
    "less than half of the time allowed": (10, {"auditstore_pool_oldest_wait_seconds": "2.4+0x30"}),
    "less than one a second": (25, {'auditstore_pool_closed_total{reason="max_idle"}': "0+59x30"}),
    "another reason": (25, {'auditstore_pool_closed_total{reason="lifetime"}': "0+600x30"}),
    "a denial a second": (25, {'auditstore_access_denied_total{reason="role_missing"}': "0+39x30"}),
    "a refusal in a minute": (25, {'auditstore_pool_refusals_total{sqlstate="42501"}': "0+0.9x30"}),
    "half of the open ones": (25, {"auditstore_pool_opened_total": "4+2x30"}),
}


def promtool(*args, **more):
    return subprocess.run(["promtool", *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=120, **more)


def series_text(series):
    def with_instance(name):
        return name[:-1] + ',instance="db1"}' if name.endswith("}") else name + '{instance="db1"}'
    return "".join(f"      - series: '{with_instance(name)}'\n        values: '{values}'\n"
                   for name, values in series.items())


def case_text(minute, changes, alert):
    """A test that expects the alert not to fire."""
    return (f"  - interval: 1m\n    input_series:\n{series_text({**HEALTHY, **changes})}"
            f"    alert_rule_test:\n      - eval_time: {minute}m\n        alertname: {alert}\n"
            f"        exp_alerts: []\n")


@unittest.skipUnless(shutil.which("promtool"), "promtool isn't installed: ./dev conformance installs it")
class PromtoolTest(harness.StoreCase):
    def assert_succeeds(self, done):
        self.assertEqual(0, done.returncode, done.stdout)

    def test_the_metrics_are_well_formed_and_well_named(self):
        text = self.daemon.http_get("/metrics")[1]
        done = promtool("check", "metrics", input=text)
        self.assert_succeeds(done)
        self.assertEqual("", done.stdout)

    def test_the_rules_are_valid(self):
        done = promtool("check", "rules", RULES)
        self.assert_succeeds(done)
        self.assertIn(f"{len(ALERTS)} rules found", done.stdout)

    def firing(self, minute, changes):
        """The alerts that fire, by the list that promtool prints when it expected none."""
        file = self.folder / "alerts.yml"
        tests = "".join(case_text(minute, changes, alert) for alert in ALERTS)
        file.write_text(f"rule_files: [{RULES}]\nevaluation_interval: 1m\ntests:\n{tests}",
                        encoding="utf-8")
        done = promtool("test", "rules", file)
        found = {alert for alert in ALERTS if f"alertname: {alert}, time:" in done.stdout}
        self.assertEqual(bool(found), done.returncode != 0, done.stdout)
        return found, done.stdout

    def test_each_alert_fires_for_its_own_reason_alone(self):
        for alert, minute, changes in CASES:
            with self.subTest(alert=alert, changes=changes):
                found, said = self.firing(minute, changes)
                self.assertEqual({alert}, found, said)

    def test_nothing_fires_while_all_is_well_or_nearly_so(self):
        for what, (minute, changes) in {"healthy": (25, {}), **CLOSE_CALLS}.items():
            with self.subTest(what=what):
                found, said = self.firing(minute, changes)
                self.assertEqual(set(), found, said)


if __name__ == "__main__":
    unittest.main()
