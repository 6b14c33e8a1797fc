"""The example for Java, against the daemon."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import examples  # noqa: E402


class JavaExampleTest(examples.ExampleTests, examples.ExampleCase):
    language = "java"

    @classmethod
    def build(cls):
        folder = examples.built("java", "mvn", "-q", "-B", "package")
        return ["java", "-XX:TieredStopAtLevel=1", "-jar", folder / "target" / "example.jar"]


if __name__ == "__main__":
    unittest.main(verbosity=2)
