"""The example for Node, against the daemon."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import examples  # noqa: E402


class NodeExampleTest(examples.ExampleTests, examples.ExampleCase):
    language = "node"

    @classmethod
    def build(cls):
        folder = examples.built("node", "npm", "install", "--silent", "--no-audit", "--no-fund")
        return ["node", folder / "example.js"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
