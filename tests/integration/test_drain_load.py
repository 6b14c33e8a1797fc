"""A rolling restart under load: not one call fails, for a client that sends nothing twice by itself."""

import json
import pathlib
import signal
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import events, harness  # noqa: E402

WRITERS = 6
ROUNDS = 3
# Of calls between one stop and the next, so that each meets a working pair.
CALLS_BETWEEN = 50
# The client asks each daemon's health and leaves out those that don't serve. What gRPC itself sends
# again are calls that a server says it never saw: behind the last stream of its GOAWAY.
OPTIONS = (
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}],
                                        "healthCheckConfig": {"serviceName": ""}})),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)


class RollingRestartTest(harness.PostgresCase):
    def start(self, port=0):
        return self.start_daemon({"server.listen": f"127.0.0.1:{port}"})

    def write(self, stub):
        """Until told to stop; every fourth call waits for its stream's acknowledgement."""
        while not self.is_over.is_set():
            event = events.make(self.stubs, event_id=events.new_id(), correlation_id="rolling")
            try:
                if self.calls % 4:
                    stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[event]),
                                     timeout=30)
                else:
                    request = self.stubs.store.StreamEventsRequest(batch_id="b", events=[event])
                    self.assertEqual(1, len(list(stub.StreamEvents(iter([request]), timeout=30))))
            except (grpc.RpcError, AssertionError) as error:
                self.failures.append(str(error))
                return
            self.acknowledged.append(event.event_id)
            self.calls += 1

    def await_calls(self, daemons):
        """Both daemons are called again, and there were enough calls."""
        def served(daemon):
            return daemon.metrics()['auditstore_grpc_calls_total{code="OK"}']
        before, calls = [served(daemon) for daemon in daemons], self.calls
        harness.wait_until(lambda: self.failures or (self.calls > calls + CALLS_BETWEEN and all(
            served(daemon) > count + 5 for daemon, count in zip(daemons, before))),
            what="both daemons are called")

    def test_no_call_fails(self):
        daemons = [self.start(), self.start()]
        self.is_over, self.calls = threading.Event(), 0
        self.failures, self.acknowledged = [], []
        target = "ipv4:" + ",".join(daemon.address for daemon in daemons)
        with grpc.insecure_channel(target, options=OPTIONS) as channel:
            stub = self.stubs.store_grpc.AuditStoreStub(channel)
            stub.ListEvents(self.stubs.store.ListEventsRequest(), wait_for_ready=True, timeout=30)
            threads = [threading.Thread(target=self.write, args=(stub,)) for _ in range(WRITERS)]
            for thread in threads:
                thread.start()
            try:
                for i in range(2 * ROUNDS):
                    self.await_calls(daemons)
                    port = daemons[i % 2].port
                    daemons[i % 2].signal(signal.SIGTERM)
                    self.assertEqual(0, daemons[i % 2].wait())
                    daemons[i % 2] = self.start(port)
                self.await_calls(daemons)
            finally:
                self.is_over.set()
                for thread in threads:
                    thread.join()
        self.assertEqual([], self.failures)
        stored = int(self.postgres.value(
            "SELECT count(*) FROM audit_events WHERE correlation_id = 'rolling'"))
        self.assertEqual(len(self.acknowledged), stored)


if __name__ == "__main__":
    unittest.main(verbosity=2)
