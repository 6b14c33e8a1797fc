"""The example for Rust, against the daemon."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import examples  # noqa: E402
import foreign  # noqa: E402


class RustExampleTest(examples.ExampleTests, examples.ExampleCase):
    language = "rust"

    @classmethod
    def build(cls):
        folder = examples.built("rust", foreign.cargo(), "build", "--quiet")
        return [folder / "target" / "debug" / "auditstore-example"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
