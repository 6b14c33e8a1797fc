"""A row that PostgreSQL refuses by a way of its own harms nobody but itself."""

import datetime
import json
import pathlib
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

PREPARE = """
CREATE FUNCTION refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.resource_id = 'bad' THEN RAISE EXCEPTION 'the operator wants none of these'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse_bad BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse_bad();
ALTER TABLE audit_events ADD CONSTRAINT no_worse CHECK (resource_id <> 'worse');
"""


def line(number, resource_id):
    now = datetime.datetime.now(datetime.timezone.utc)
    return json.dumps({
        "event_id": str(uuid.uuid4()), "event_time": now.isoformat(), "event_type": "test.sample",
        "event_category": "test", "event_action": str(number), "outcome": "SUCCESS",
        "resource": {"type": "x", "id": resource_id}}) + "\n"


class PoisonTest(harness.StoreCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.sql(PREPARE)

    def stored(self, prefix):
        """The resources with names that begin so, in the order of their ledger."""
        return [row[0] for row in self.postgres.sql(
            f"SELECT resource_id FROM audit_events WHERE resource_id LIKE '{prefix}%'"
            " ORDER BY ledger_id, sequence")]

    def publish(self, *words):
        return subprocess.run(
            [str(harness.EXAMPLES / "publish"), self.daemon.address, str(self.folder / "spool"), *words],
            capture_output=True, text=True, check=False, timeout=60)

    def test_a_publisher_gets_past_an_event_that_the_database_refuses(self):
        for bad in ("bad", "worse"):
            with self.subTest(bad):
                done = self.publish(f"{bad}-a", bad, f"{bad}-b")
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertRegex(done.stdout, r": FAILED_PRECONDITION: \S")
                self.assertNotIn("the operator wants none", done.stdout)
                self.assertEqual([f"{bad}-a", f"{bad}-b"], sorted(self.stored(bad)))
                done = self.publish("good")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = (self.folder / "spool" / "rejected").read_text(encoding="utf-8").splitlines()
        self.assertEqual(["FAILED_PRECONDITION"] * 2, [json.loads(text)["code"] for text in lines])

    def test_send_refuses_the_line_and_stores_its_neighbours(self):
        text = "".join(line(n, "bad" if n == 3 else f"send{n}") for n in range(1, 7))
        done = harness.run_tool(self.daemon.address, "send", "-", stdin=text)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"\Astandard input:3: refused: .+\n\Z")
        self.assertIn("acknowledged 5 (0 of them stored before), refused 1, unconfirmed 0", done.stdout)
        self.assertEqual([f"send{n}" for n in (1, 2, 4, 5, 6)], self.stored("send"))

    def test_send_refuses_an_atomic_batch_as_a_whole(self):
        text = "".join(line(n, "worse" if n == 3 else f"atomic{n}") for n in range(1, 7))
        done = harness.run_tool(self.daemon.address, "send", "--atomic", "-", stdin=text)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("standard input:1-6: batch refused: FAILED_PRECONDITION: ", done.stderr)
        self.assertIn("refused 6, unconfirmed 0", done.stdout)
        self.assertEqual([], self.stored("atomic"))


if __name__ == "__main__":
    unittest.main()
