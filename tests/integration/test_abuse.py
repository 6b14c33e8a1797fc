"""Floods of frames beside an honest client; see abuse_case.py."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import abuse, abuse_case, attacks_floods  # noqa: E402


class AbuseTest(abuse_case.AbuseCase):
    def test_floods_end_and_leave_others_alone(self):
        with self.served():
            idle = self.rig.calls_for(abuse_case.SECONDS)
            busy = self.rig.beside(sys.executable, "-c", "while True: pass", seconds=abuse_case.SECONDS)
        print(f"without an attack: p99 {abuse.p99_ms(idle):.0f} ms; with the processors as busy, "
              f"{abuse.p99_ms(busy):.0f} ms")
        self.check_each(attacks_floods.ATTACKS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
