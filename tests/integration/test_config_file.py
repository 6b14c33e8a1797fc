"""What a settings file may say: every key of the table, through the daemon's command line."""

import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

UNITS = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6,
         "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
NUMBER = re.compile(r"(\d+)([A-Za-z%]*)")
EMPTY = '""'


class Key:
    """A row of the reference."""

    def __init__(self, section, default, allowed, name):
        self.section = section
        self.name = name
        self.full = f"{section}.{name}"
        self.default = default
        self.allowed = allowed
        self.may_be_off = allowed.endswith(", or off") or allowed == "off, on"
        self.min, self.max = self._range()
        self.unit = NUMBER.fullmatch(self.max).group(2) if self.max else None

    def _range(self):
        match = re.match(r"(\S+) to ([^\s,]+)(?:, or off)?$", self.allowed)
        return match.groups() if match and NUMBER.fullmatch(match.group(1)) else (None, None)

    @property
    def kind(self):
        if not self.max:
            return "text"
        if not self.unit:
            return "int"
        if self.unit == "%":
            return "percent"
        return "size" if self.unit.endswith("B") else "duration"

    @property
    def camel(self):
        first, *rest = self.name.split("_")
        return first + "".join(part.capitalize() for part in rest)

    def beyond(self, text, step):
        """The number next to `text`, outside of the range."""
        number, unit = NUMBER.fullmatch(text).groups()
        if self.kind in ("int", "percent"):
            return f"{int(number) + step}{unit}"
        smallest = "B" if self.kind == "size" else "us"
        return f"{int(number) * UNITS[unit] + step}{smallest}"


def read_keys():
    keys = []
    section = None
    for line in harness.run_daemon("--print-config-reference").stdout.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| `"):
            name, default, allowed = (cell.strip().strip("`") for cell in line.split("|")[1:4])
            keys.append(Key(section, default, allowed, name))
    return keys


class ConfigFileCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = harness.TemporaryFolder()
        cls.addClassCleanup(cls.temporary.remove)
        cls.file = cls.temporary.path / "settings.yaml"
        cls.keys = read_keys()

    def write(self, rows):
        """rows: [(key, name as written, value)]; returns the line of each. Sections may be split."""
        sections = {}
        for row in rows:
            sections.setdefault(row[0].section, []).append(row)
        lines = []
        places = []
        for section, members in sections.items():
            lines.append(f"{section}:")
            for key, name, value in members:
                lines.append(f"  {name}: {value}")
                places.append((key, name, value, len(lines)))
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return places

    def run_file(self, option, code):
        done = harness.run_daemon("--config", self.file, option)
        self.assertEqual(code, done.returncode, done.stderr)
        return done

    def check_refused(self, rows, says):
        """Each row has its message, in a file of all of them; says(key, value) is its text."""
        self.assertTrue(rows)
        places = self.write([(key, key.name, value) for key, value in rows])
        done = self.run_file("--check-config", 2)
        lines = done.stderr.splitlines()
        for key, _, value, line in places:
            with self.subTest(key=key.full, value=value):
                found = [text for text in lines if text.startswith(f"{self.file}:{line}: ")]
                self.assertEqual([f"{self.file}:{line}: {key.full}: {says(key, value)}"], found)
        self.assertEqual("", done.stdout)

    def effective(self, settings=None):
        """{key: (value, source)} of --print-config"""
        done = harness.run_daemon("--config", self.file, "--print-config", settings=settings)
        self.assertEqual(0, done.returncode, done.stderr)
        rows = (re.fullmatch(r"(\S+) = (.*)  # (.*)", line) for line in done.stdout.splitlines())
        return {row.group(1): (row.group(2), row.group(3)) for row in rows}

    def numbers(self, *kinds):
        return [key for key in self.keys if key.kind in (kinds or ("int", "percent", "duration", "size"))]


WORDS = {"int": "a whole number", "percent": "a percentage, such as 10%,",
         "size": "a size, such as 64KiB or 4MiB,"}


def refusal(key, value):
    """A regular refusal: what was got, what is allowed."""
    words = WORDS.get(key.kind)
    if key.kind == "duration":
        is_whole = key.full in WHOLE_SECONDS
        words = ("a duration in whole seconds, such as 10s, 5m or 1h30m," if is_whole else
                 "a duration with units, such as 250ms, 10s, 5m or 1h30m,")
    return f'got "{value}": must be {words} from {key.allowed}'


WHOLE_SECONDS = {"http.timeout", "database.tcp_keepalive_idle", "database.tcp_keepalive_interval"}


class DefaultsTest(ConfigFileCase):
    def check_defaults(self, source):
        effective = self.effective()
        self.assertEqual([key.full for key in self.keys], list(effective))
        for key in self.keys:
            with self.subTest(key=key.full):
                value = "" if key.default == EMPTY else key.default
                self.assertEqual((value, source(key)), effective[key.full])

    def test_there_are_keys_of_each_kind(self):
        for kind in ("int", "percent", "duration", "size", "text"):
            self.assertTrue([key for key in self.keys if key.kind == kind], kind)
        self.assertGreater(len(self.keys), 70)

    def test_absent_is_the_default(self):
        self.file.write_text("", encoding="ascii")
        self.check_defaults(lambda key: "default")

    def test_a_key_without_a_value_is_the_default(self):
        for nothing in ("", "~", "null"):
            self.write([(key, key.name, nothing) for key in self.keys])
            self.check_defaults(lambda key: "default")

    def test_zero_is_the_default_of_every_number(self):
        places = self.write([(key, key.name, "0") for key in self.numbers()])
        lines = {key.full: line for key, _, _, line in places}
        self.check_defaults(lambda key: f"{self.file}:{lines[key.full]}" if key.full in lines
                            else "default")

    def test_each_default_may_be_written(self):
        places = self.write([(key, key.name, key.default) for key in self.keys])
        lines = {key.full: line for key, _, _, line in places}
        self.check_defaults(lambda key: f"{self.file}:{lines[key.full]}")

    def test_camel_case_names_the_same_keys(self):
        places = self.write([(key, key.camel, key.default) for key in self.keys])
        lines = {key.full: line for key, _, _, line in places}
        self.check_defaults(lambda key: f"{self.file}:{lines[key.full]}")


class OffTest(ConfigFileCase):
    def test_off_is_taken_where_it_is_allowed(self):
        allowed = [key for key in self.keys if key.may_be_off]
        self.assertGreater(len(allowed), 8)
        places = self.write([(key, key.name, "off") for key in allowed])
        effective = self.effective()
        for key, _, _, line in places:
            self.assertEqual(("off", f"{self.file}:{line}"), effective[key.full])

    def test_off_is_refused_by_every_other_number(self):
        self.check_refused([(key, "off") for key in self.numbers() if not key.may_be_off], refusal)


class NumbersTest(ConfigFileCase):
    def test_negative_numbers_are_refused(self):
        for sign in ("-1", "-5"):
            self.check_refused([(key, sign + (key.unit or "")) for key in self.numbers()], refusal)

    def test_durations_need_a_unit(self):
        self.check_refused([(key, "5") for key in self.numbers("duration")], refusal)

    def test_what_is_no_number_is_refused(self):
        for value in ("5mm", "1e9h", "many", "5 s", "1.5", "0x10", "99999999999999999999", "1s5",
                      "1S", "5%5"):
            rows = [(key, value) for key in self.numbers()]
            self.check_refused(rows, refusal)

    def test_the_range_ends_where_it_says(self):
        self.check_refused([(key, key.beyond(key.max, 1)) for key in self.numbers()], refusal)
        above_zero = [key for key in self.numbers() if key.min not in ("1", "1%", "1B")]
        self.assertGreater(len(above_zero), 30)
        self.check_refused([(key, key.beyond(key.min, -1)) for key in above_zero], refusal)

    def test_both_ends_of_the_range_are_taken(self):
        """A rule about two keys may still object; that is another message."""
        for end in ("min", "max"):
            places = self.write([(key, key.name, getattr(key, end)) for key in self.numbers()])
            done = harness.run_daemon("--config", self.file, "--check-config")
            for key, _, value, line in places:
                with self.subTest(key=key.full, value=value):
                    self.assertNotIn(f"{self.file}:{line}: {key.full}: {refusal(key, value)}",
                                     done.stderr)
            self.assertNotIn(" from ", done.stderr)

    def test_parts_of_a_second_are_refused_where_whole_ones_are_needed(self):
        keys = [key for key in self.keys if key.full in WHOLE_SECONDS]
        self.assertEqual(len(WHOLE_SECONDS), len(keys))
        self.check_refused([(key, "1500ms") for key in keys], refusal)


class NamesTest(ConfigFileCase):
    def test_a_misspelled_key_is_refused_and_the_right_one_named(self):
        rows = [(key, key.name[:-1] + key.name[-1] * 2) for key in self.keys]
        places = self.write([(key, name, key.default) for key, name in rows])
        done = self.run_file("--check-config", 2)
        self.assertEqual([f"{self.file}:{line}: {key.section}.{name}: unknown key "
                          f"(did you mean {key.name}?)" for key, name, _, line in places],
                         done.stderr.splitlines())

    def test_a_key_given_in_both_spellings_is_given_twice(self):
        keys = [key for key in self.keys if key.camel != key.name]
        self.assertGreater(len(keys), 50)
        rows = [row for key in keys
                for row in ((key, key.camel, key.default), (key, key.name, key.default))]
        places = self.write(rows)
        done = self.run_file("--check-config", 2)
        self.assertEqual([f"{self.file}:{line}: {key.full}: set twice: first in line {line - 1}"
                          for key, _, _, line in places[1::2]], done.stderr.splitlines())

    def test_a_misspelled_section_is_refused_and_the_right_one_named(self):
        sections = list(dict.fromkeys(key.section for key in self.keys))
        self.file.write_text("".join(f"{name}{name[-1]}:\n  x: 1\n" for name in sections),
                             encoding="ascii")
        done = self.run_file("--check-config", 2)
        self.assertEqual([f"{self.file}:{2 * i + 1}: {name}{name[-1]}: unknown section "
                          f"(did you mean {name}?)" for i, name in enumerate(sections)],
                         done.stderr.splitlines())

    def test_choices_list_what_may_be_chosen(self):
        keys = [key for key in self.keys if re.fullmatch(r"[a-z-]+(, [a-z-]+)+", key.allowed)]
        self.assertEqual(10, len(keys), [key.full for key in keys])
        self.check_refused([(key, "maybe") for key in keys],
                           lambda key, value: f'got "maybe": must be one of {key.allowed}')


# What goes wrong between keys: (file's settings, key that the message is about, its text).
RULES = (
    ({"database.max_idle_conns": 5, "database.min_idle_conns": 6}, "database.min_idle_conns",
     'got "6": must not be above database.max_idle_conns'),
    ({"database.connect_backoff_min": "20s"}, "database.connect_backoff_min",
     'got "20s": must not be above database.connect_backoff_max'),
    ({"database.sslcert": "/c.pem"}, "database.sslcert",
     'got "/c.pem": needs database.sslkey as well'),
    ({"database.sslkey": "/k.pem"}, "database.sslkey",
     'got "/k.pem": needs database.sslcert as well'),
    ({"tls.cert_file": "/c.pem"}, "tls.cert_file", 'got "/c.pem": needs tls.key_file as well'),
    ({"tls.key_file": "/k.pem"}, "tls.key_file", 'got "/k.pem": needs tls.cert_file as well'),
    ({"tls.client_certificates": "required", "tls.client_ca_file": "/ca.pem"},
     "tls.client_certificates", 'got "required": needs tls.cert_file as well'),
    ({"tls.client_certificates": "optional", "tls.cert_file": "/c.pem", "tls.key_file": "/k.pem"},
     "tls.client_certificates", 'got "optional": needs tls.client_ca_file as well'),
    ({"tls.client_ca_file": "/ca.pem"}, "tls.client_ca_file",
     'got "/ca.pem": has no use: tls.client_certificates is off'),
    *[({"ledger.origin": f'"{origin}"'}, "ledger.origin",
       f'got "{origin}": must be UTF-8 without white space, control characters and plus signs')
      for origin in ("audit log", "a+b", "a\N{NO-BREAK SPACE}b", "a\N{IDEOGRAPHIC SPACE}b",
                     "a\N{EM SPACE}", "\N{OGHAM SPACE MARK}a")],
    *[({"ledger.origin": origin}, "ledger.origin",
       f'got "{origin}": must hold no // and no / at an end')
      for origin in ("a//b", "https://a", "/a", "a/")],
    ({"ledger.origin": "4711"}, "ledger.origin", 'got "4711": must not be a number'),
    ({"ingest.lanes": 9, "database.max_open_conns": 9}, "ingest.lanes",
     'got "9": must be below database.max_open_conns, so that readers get one'),
    ({"ingest.max_queue_events": 999}, "ingest.max_request_events",
     'got "1000": must not be above ingest.max_queue_events'),
    ({"ingest.max_queue_bytes": "1MiB"}, "ingest.max_queue_bytes",
     'got "1MiB": must not be below server.max_message_bytes'),
    ({"server.stream_window_bytes": "17MiB"}, "server.stream_window_bytes",
     'got "17MiB": must not be above server.connection_window_bytes'),
    ({"query.default_page_size": 1001}, "query.default_page_size",
     'got "1001": must not be above query.max_page_size'),
)

WARNINGS = (
    ({"query.max_running": 30}, "query.max_running",
     "warning: leaves less than ingest.lanes + 3 of database.max_open_conns: readers may hold up writing"),
    ({"query.max_running": 21}, "query.max_running",
     "warning: leaves less than ingest.lanes + 3 of database.max_open_conns: readers may hold up writing"),
    ({"query.max_running_per_principal": 13}, "query.max_running_per_principal",
     "warning: above query.max_running: clamped to it"),
    ({"query.max_unindexed": 13}, "query.max_unindexed", "warning: above query.max_running: clamped to it"),
    ({"database.max_open_conns": 4, "database.max_idle_conns": 9}, "database.max_idle_conns",
     "warning: above max_open_conns: clamped to it"),
    ({"database.conn_max_lifetime": "5m", "database.conn_max_idle_time": "5m"},
     "database.conn_max_idle_time",
     "warning: can never fire: a connection idle for so long is older than conn_max_lifetime"),
    ({"database.host": "db.internal", "database.sslmode": "prefer"}, "database.sslmode",
     "warning: doesn't prove who answers, and dials twice when the server refuses: use verify-full"),
    ({"access.anonymous_roles": "off"}, "access.anonymous_roles",
     "warning: nobody may do anything: name those who may in access.writers, readers, auditors, "
     "admins"),
)


class RulesTest(ConfigFileCase):
    def write_settings(self, settings):
        rows = [(next(key for key in self.keys if key.full == full), value)
                for full, value in settings.items()]
        places = self.write([(key, key.name, value) for key, value in rows])
        return {key.full: f"{self.file}:{line}" for key, _, _, line in places}

    def test_each_rule_between_keys_has_its_message(self):
        for settings, key, text in RULES:
            with self.subTest(key=key):
                places = self.write_settings(settings)
                done = self.run_file("--check-config", 2)
                self.assertEqual(f"{places.get(key, 'default')}: {key}: {text}\n", done.stderr)

    def test_what_makes_no_sense_is_warned_of_and_taken(self):
        for settings, key, text in WARNINGS:
            with self.subTest(key=key):
                places = self.write_settings(settings)
                done = self.run_file("--check-config", 0)
                self.assertEqual(f"{places[key]}: {key}: {text}\n", done.stderr)

    def test_rules_and_bad_values_are_told_together(self):
        """Only a rule about the bad value itself waits for a better one."""
        places = self.write_settings({"server.stream_window_bytes": "17MiB",
                                      "database.sslkey": "/k.pem",
                                      "database.max_idle_conns": "lots",
                                      "database.min_idle_conns": 30,
                                      "query.default_page_size": 1001})
        done = self.run_file("--check-config", 2)
        told = {re.match(r"(\S+): (\S+): ", line).groups() for line in done.stderr.splitlines()}
        expected = set(places) - {"database.min_idle_conns"}
        self.assertEqual({(places[key], key) for key in expected}, told)


class RefusalTest(ConfigFileCase):
    def test_a_daemon_does_not_start_with_a_bad_file(self):
        self.file.write_text("database:\n  max_open_con: 7\n", encoding="ascii")
        checked = self.run_file("--check-config", 2)
        for args in ((), ("migrate",), ("--print-config",)):
            done = harness.run_daemon(*args, "--config", self.file)
            self.assertEqual((2, "", checked.stderr), (done.returncode, done.stdout, done.stderr))

    def test_the_command_line_is_checked_as_the_file_is(self):
        cases = {"database.max_open_con=7": "database.max_open_con: unknown key "
                                            "(did you mean max_open_conns?)",
                 "database.acquire_timeout=5": 'database.acquire_timeout: got "5": must be a '
                                               "duration with units, such as 250ms, 10s, 5m or "
                                               "1h30m, from 10ms to 5m",
                 "nonsense": "nonsense: must be section.key=value"}
        for argument, text in cases.items():
            done = harness.run_daemon("--check-config", "--set", argument)
            self.assertEqual((2, f"--set: {text}\n"), (done.returncode, done.stderr))

    def test_a_good_file_is_taken_without_a_word(self):
        self.file.write_text("database:\n  max_open_conns: 7\n", encoding="ascii")
        done = self.run_file("--check-config", 0)
        self.assertEqual(("", ""), (done.stdout, done.stderr))


if __name__ == "__main__":
    unittest.main(verbosity=2)
