"""Attacks by those who have shown nothing, in production; on the pages' port; on the log. See abuse_case.py."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import abuse_case, attacks_tls, log_pipe  # noqa: E402


class ProductionTest(abuse_case.AbuseCase):
    is_production = True

    def test_strangers_take_nothing_from_those_with_a_token(self):
        self.check_each([*attacks_tls.TLS_ATTACKS, "reflection_bomb", "metadata_held", "zipped_checks",
                         "bad_tokens", "open_metadata", "watches"])


class PagesTest(abuse_case.AbuseCase):
    def probe(self):
        self.assertEqual(200, self.daemon.http_get("/livez")[0])

    def test_the_pages_answer_probes(self):
        self.check_each(attacks_tls.HTTP_ATTACKS, beside=self.probe)


class LogTest(abuse_case.AbuseCase):
    def test_peers_that_fill_the_log_stop_nobody(self):
        pipe = log_pipe.LogPipe(self.folder / "stalled.log")
        self.addCleanup(pipe.close)
        pipe.is_stalled = True
        with self.served(stderr=pipe.write_end):
            self.check("garbage")
            pipe.is_stalled = False


if __name__ == "__main__":
    unittest.main(verbosity=2)
