"""The example for Go, against the daemon."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import examples  # noqa: E402
import foreign  # noqa: E402


class GoExampleTest(examples.ExampleTests, examples.ExampleCase):
    language = "go"

    @classmethod
    def build(cls):
        go = foreign.go()
        path = f"{pathlib.Path(go).parent}:{os.environ['PATH']}"
        folder = examples.built("go", "sh", "-c", "./generate.sh && go build -o target/example .",
                                env={**foreign.go_environment(), "PATH": path})
        return [folder / "target" / "example"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
