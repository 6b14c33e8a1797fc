"""Server reflection, v1 and v1alpha, without PostgreSQL: it answers before the database does."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool  # noqa: E402

from support import harness  # noqa: E402
from support.effects import effect_of  # noqa: E402

SERVICES = {"auditstore.v1.AuditStore", "auditstore.v1.Admin", "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}


class Nowhere:
    """In the place of a PostgreSQL that is away."""

    @staticmethod
    def daemon_settings():
        return {"database.host": "127.0.0.1", "database.port": 1}


class ReflectionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stubs = harness.load_stubs()
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.daemon = harness.Daemon(cls.folder, Nowhere, wait_serving=False)
        cls.addClassCleanup(cls.daemon.stop)
        cls.channel = cls.daemon.channel()
        cls.addClassCleanup(cls.channel.close)

    def services(self):
        return (self.stubs.reflection_grpc.ServerReflectionStub(self.channel),
                self.stubs.reflection_alpha_grpc.ServerReflectionStub(self.channel))

    def ask_all(self, requests, stub=None):
        requests = [self.stubs.reflection.ServerReflectionRequest(**fields) for fields in requests]
        # v1alpha's messages are v1's under another package, the same on the wire.
        stub = stub or self.services()[0]
        alpha = sys.modules["grpc.reflection.v1alpha.reflection_pb2"].ServerReflectionRequest
        if stub.__class__.__module__.endswith("v1alpha.reflection_pb2_grpc"):
            requests = [alpha.FromString(request.SerializeToString()) for request in requests]
        answers = list(stub.ServerReflectionInfo(iter(requests), timeout=30))
        self.assertEqual(len(requests), len(answers))
        return answers

    def ask(self, stub=None, **fields):
        (answer,) = self.ask_all([fields], stub)
        return answer

    def files(self, answer):
        return [descriptor_pb2.FileDescriptorProto.FromString(file)
                for file in answer.file_descriptor_response.file_descriptor_proto]

    def test_all_services_are_listed(self):
        for stub in self.services():
            answer = self.ask(stub, list_services="*")
            self.assertEqual(SERVICES,
                             {service.name for service in answer.list_services_response.service})

    def test_the_request_and_its_host_come_back(self):
        answer = self.ask(host="example.org", list_services="")
        self.assertEqual("example.org", answer.valid_host)
        self.assertEqual("example.org", answer.original_request.host)
        self.assertTrue(answer.original_request.HasField("list_services"))

    def test_symbols_of_each_kind_lead_to_their_file(self):
        for symbol, file in (
                ("auditstore.v1.AuditStore", "auditstore/v1/audit_store.proto"),
                (".auditstore.v1.AuditStore", "auditstore/v1/audit_store.proto"),
                ("auditstore.v1.AuditStore.StreamEvents", "auditstore/v1/audit_store.proto"),
                ("auditstore.v1.WriteEventsRequest", "auditstore/v1/audit_store.proto"),
                ("auditstore.v1.WriteEventsRequest.events", "auditstore/v1/audit_store.proto"),
                ("auditstore.v1.Outcome", "auditstore/v1/event.proto"),
                ("auditstore.v1.OUTCOME_SUCCESS", "auditstore/v1/event.proto"),
                ("grpc.health.v1.HealthCheckResponse.ServingStatus",
                 "grpc/health/v1/health.proto"),
                ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"),
                ("grpc.reflection.v1.ServerReflectionRequest.message_request",
                 "grpc/reflection/v1/reflection.proto"),
                ("grpc.reflection.v1alpha.ServerReflection",
                 "grpc/reflection/v1alpha/reflection.proto"),
                ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto")):
            for stub in self.services():
                with self.subTest(symbol):
                    answer = self.ask(stub, file_containing_symbol=symbol)
                    self.assertEqual(file, self.files(answer)[0].name)

    def test_files_come_with_what_they_import(self):
        answer = self.ask(file_by_filename="auditstore/v1/audit_store.proto")
        pool = descriptor_pool.DescriptorPool()
        for file in reversed(self.files(answer)):
            pool.Add(file)
        service = pool.FindServiceByName("auditstore.v1.AuditStore")
        self.assertIn("event_data",
                      service.methods_by_name["WriteEvents"].input_type.fields_by_name["events"]
                      .message_type.fields_by_name)

    def test_imports_come_once_on_a_stream(self):
        first, second, third = self.ask_all([
            {"file_by_filename": "auditstore/v1/audit_store.proto"},
            {"file_by_filename": "auditstore/v1/admin.proto"},
            {"file_by_filename": "auditstore/v1/audit_store.proto"}])
        names = [file.name for file in self.files(first)]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("google/protobuf/timestamp.proto", names)
        self.assertNotIn("google/protobuf/timestamp.proto",
                         [file.name for file in self.files(second)])
        self.assertEqual(["auditstore/v1/audit_store.proto"],
                         [file.name for file in self.files(third)])

    def test_what_is_unknown_is_an_error_inside_the_stream(self):
        for stub in self.services():
            *unknown, numbers, services = self.ask_all([
                {"file_by_filename": "no/such.proto"},
                {"file_containing_symbol": "auditstore.v1.Nothing"},
                {"file_containing_symbol": ""},
                {"file_containing_symbol": "auditstore.v1.AuditStor"},
                {"file_containing_symbol": "auditstore.v1.AuditStoreX"},
                {"file_containing_extension": {"containing_type": "auditstore.v1.AuditEvent",
                                               "extension_number": 1}},
                {"all_extension_numbers_of_type": "no.Such"},
                {"all_extension_numbers_of_type": "auditstore.v1.AuditEvent"},
                {"list_services": ""}], stub)
            for answer in unknown:
                self.assertEqual(grpc.StatusCode.NOT_FOUND.value[0],
                                 answer.error_response.error_code, answer)
                self.assertTrue(answer.error_response.error_message)
            self.assertEqual("auditstore.v1.AuditEvent",
                             numbers.all_extension_numbers_response.base_type_name)
            self.assertEqual(5, len(services.list_services_response.service))

    def test_a_request_for_nothing_is_an_error_inside_the_stream(self):
        answer = self.ask()
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT.value[0],
                         answer.error_response.error_code)

    def test_a_stream_takes_any_number_of_requests_from_who_reads(self):
        def requests():
            for _ in range(1000):
                yield self.stubs.reflection.ServerReflectionRequest(
                    file_by_filename="auditstore/v1/admin.proto")
        answers = self.services()[0].ServerReflectionInfo(requests(), timeout=60)
        self.assertEqual(1000, sum(1 for _ in answers))

    @effect_of("server.reflection")
    def test_it_can_be_switched_off(self):
        daemon = harness.Daemon(self.folder, Nowhere, {"server.reflection": "off"},
                                wait_serving=False)
        self.addCleanup(daemon.stop)
        with daemon.channel() as channel:
            stub = self.stubs.reflection_grpc.ServerReflectionStub(channel)
            with self.assertRaises(grpc.RpcError) as refused:
                next(stub.ServerReflectionInfo(iter([
                    self.stubs.reflection.ServerReflectionRequest(list_services="")]), timeout=30))
            self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, refused.exception.code())


if __name__ == "__main__":
    unittest.main()
