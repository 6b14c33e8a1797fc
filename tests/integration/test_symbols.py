"""What libauditstore.so offers: every symbol has a version, and the library's functions are those of
a list that only grows knowingly (clients/c/package/auditstore.symbols)."""

import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

LIBRARY = harness.BUILD / "clients" / "c" / "libauditstore.so"
LIST = harness.ROOT / "clients" / "c" / "package" / "auditstore.symbols"
DECLARATION = re.compile(r"^AUDITSTORE_API\b[^;{}]*?\b(auditstore_\w+)\s*\(", re.MULTILINE)


def output_of(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          check=True).stdout


def texts_of(folder, pattern):
    return [path.read_text(encoding="utf-8") for path in sorted(folder.rglob(pattern))]


def declared():
    """The functions of the public headers."""
    return {name for text in texts_of(harness.ROOT / "include", "*.h")
            for name in DECLARATION.findall(text)}


def generated():
    """What the stubs' headers say is in the library; protobuf-c's names have two underscores."""
    return {name for text in texts_of(harness.BUILD / "gen" / "client", "*.h")
            for name in re.findall(r"^extern AUDITSTORE_API [^;]*?(\w+)(?:\[\d*\])?;", text,
                                   re.MULTILINE)}


class SymbolsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lines = [line.split() for line in
                 output_of("nm", "-D", "--defined-only", LIBRARY).splitlines()]
        # The node of the version itself is absolute.
        cls.exported = [line[2] for line in lines if line[1] != "A"]
        cls.listed = LIST.read_text(encoding="ascii").split()

    def test_each_has_the_version_of_the_abi(self):
        abi = re.search(r"SONAME.*\[libauditstore\.so\.([\d.]+)\]", output_of("readelf", "-d", LIBRARY))
        self.assertGreater(len(self.exported), 100)
        others = [name for name in self.exported
                  if not name.endswith(f"@@AUDITSTORE_{abi.group(1)}")]
        self.assertEqual(others, [])

    def test_functions_of_the_library_are_those_of_the_list(self):
        made = generated()
        names = {name.split("@")[0] for name in self.exported}
        own = sorted(name for name in names if name not in made and "__" not in name)
        self.assertEqual(own, self.listed)

    def test_the_list_is_what_the_headers_declare(self):
        self.assertEqual(self.listed, sorted(declared()),
                         f"{LIST}: a function that goes breaks programs; a new one gets its line")


if __name__ == "__main__":
    unittest.main(verbosity=2)
