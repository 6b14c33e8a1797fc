"""Marks the test that shows what a setting does, seen from outside the daemon.

    @effect_of("database.max_open_conns")
    def test_the_server_sees_exactly_the_limit(self): ...

tests/integration/test_effects.py walks the settings and fails for each that no test is marked with.
"""

import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parents[1] / "integration"
MARK = re.compile(r'^ *@(?:effects\.)?effect_of\(((?:\s*"[\w.]+",?)+)\s*\)\n(?:\s*@.*\n)*\s*def (test_\w+)\(',
                  re.MULTILINE)


def effect_of(*_keys):
    """The keys are read from the source: see marks()."""
    return lambda test: test


def marks():
    """{key: ["file.py:test_name", ...]} of all integration tests."""
    found = {}
    for path in sorted(TESTS.glob("test_*.py")):
        for keys, test in MARK.findall(path.read_text(encoding="utf-8")):
            for key in re.findall(r'"([\w.]+)"', keys):
                found.setdefault(key, []).append(f"{path.name}:{test}")
    return found
