"""No setting without an effect: each has a test that sees it from outside the process."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import effects, harness  # noqa: E402


class EveryKeyTest(unittest.TestCase):
    def test_every_setting_has_a_test_of_its_effect(self):
        printed = harness.run_daemon("--print-config").stdout
        keys = [line.split(" = ")[0] for line in printed.splitlines()]
        self.assertGreater(len(keys), 70)
        marked = effects.marks()
        self.assertEqual([], [key for key in keys if key not in marked], "settings without a test")
        self.assertEqual([], [key for key in marked if key not in keys], "tests of unknown settings")


if __name__ == "__main__":
    unittest.main(verbosity=2)
