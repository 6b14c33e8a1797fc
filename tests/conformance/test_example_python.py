"""The example for Python, against the daemon."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import examples  # noqa: E402


class PythonExampleTest(examples.ExampleTests, examples.ExampleCase):
    language = "python"

    @classmethod
    def build(cls):
        folder = examples.built("python", "./generate.sh")
        return [folder / ".venv" / "bin" / "python", folder / "example.py"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
