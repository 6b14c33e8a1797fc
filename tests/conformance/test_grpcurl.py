"""grpcurl and ghz against auditstored, knowing nothing but what reflection tells them."""

import json
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402

from support import certificates, events, harness  # noqa: E402


def sample(**fields):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"event_time": now, "event_type": "test.grpcurl", "event_category": "test",
            "event_action": "run", "outcome": "OUTCOME_SUCCESS", **fields}


class GrpcurlTest(harness.StoreCase):
    @classmethod
    def setUpClass(cls):
        cls.grpcurl = foreign.go_tool("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3")
        super().setUpClass()

    def run_it(self, *args, code=0, options=("-plaintext",), address=None):
        done = subprocess.run([str(self.grpcurl), *options, *map(str, args[:-1]),
                               address or self.daemon.address, *args[-1]],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(code, done.returncode, done.stderr + done.stdout)
        return done.stdout if code == 0 else done.stderr

    def call(self, method, request, **options):
        return self.run_it("-d", json.dumps(request), [method], **options)

    def test_services_and_their_messages_are_found(self):
        services = self.run_it(["list"]).split()
        self.assertEqual(5, len(services))
        for service in services:
            methods = self.run_it(["list", service]).split()
            self.assertTrue(methods)
            self.assertIn("is a service", self.run_it(["describe", service]))
            for method in methods:
                self.assertIn("is a method", self.run_it(["describe", method]))
        text = self.run_it("-msg-template", ["describe", ".auditstore.v1.AuditEvent"])
        self.assertIn('"eventData"', text)

    def test_an_event_is_written_and_listed(self):
        event = sample(event_id=events.new_id(), correlation_id="grpcurl")
        answer = json.loads(self.call("auditstore.v1.AuditStore/WriteEvents", {"events": [event]}))
        self.assertEqual(1, answer["receipts"][0]["count"])
        listed = json.loads(self.call("auditstore.v1.AuditStore/ListEvents",
                                      {"filter": {"correlation_ids": ["grpcurl"]}}))
        self.assertEqual([event["event_id"]],
                         [found["event"]["eventId"] for found in listed["events"]])

    def test_batches_are_streamed(self):
        batches = "".join(json.dumps({"batch_id": str(n), "events": [sample()]}) for n in range(20))
        done = subprocess.run([str(self.grpcurl), "-plaintext", "-d", "@", self.daemon.address,
                               "auditstore.v1.AuditStore/StreamEvents"], input=batches,
                              capture_output=True, text=True, timeout=60, check=True)
        self.assertEqual(20, done.stdout.count('"batchId"'))

    def test_errors_show_their_details(self):
        text = self.call("auditstore.v1.AuditStore/WriteEvents",
                         {"events": [sample(event_type="")]}, code=64 + 3)
        self.assertIn("InvalidArgument", text)
        self.assertIn("events[0].event_type", text)
        self.assertIn("google.rpc.BadRequest", text)

    def test_gzip_goes_both_ways(self):
        self.call("auditstore.v1.AuditStore/WriteEvents", {"events": [sample()]},
                  options=("-plaintext", "-H", "grpc-accept-encoding: gzip"))

    def test_it_speaks_tls(self):
        authority = certificates.Authority(self.folder)
        cert, key = authority.issue("server")
        daemon = self.start_daemon({"tls.cert_file": cert, "tls.key_file": key},
                                   wait_serving=False)
        options = ("-cacert", str(authority.cert), "-connect-timeout", "20")
        self.assertEqual(5, len(self.run_it(["list"], options=options,
                                            address=daemon.address).split()))

    def load(self, *args):
        ghz = foreign.go_tool("github.com/bojand/ghz/cmd/ghz", "v0.120.0")
        done = subprocess.run([str(ghz), "--insecure", "--format", "json", *args,
                               self.daemon.address], capture_output=True, text=True, timeout=240,
                              check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def test_ghz_loads_it_with_unary_calls(self):
        report = self.load("-n", "2000", "-c", "20", "--call",
                           "auditstore.v1.AuditStore.WriteEvents", "-d",
                           json.dumps({"events": [sample()]}))
        self.assertEqual({"OK": 2000}, report["statusCodeDistribution"])

    def test_ghz_loads_it_with_streams(self):
        batches = [{"batch_id": str(n), "events": [sample()]} for n in range(10)]
        report = self.load("-n", "100", "-c", "5", "--call",
                           "auditstore.v1.AuditStore.StreamEvents", "-d", json.dumps(batches))
        self.assertEqual({"OK": 100}, report["statusCodeDistribution"])


if __name__ == "__main__":
    unittest.main()
