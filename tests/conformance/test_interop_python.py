"""The interoperability cases from grpcio, plain, by TLS and with a client's certificate."""

import contextlib
import importlib
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import grpc  # noqa: E402
import interop_server  # noqa: E402

from support import harness  # noqa: E402

DEADLINE_S = 60
REQUEST_SIZES, RESPONSE_SIZES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
MANY = 1000


def load(folder):
    """The modules interop_pb2 and interop_pb2_grpc."""
    sys.path.insert(0, str(interop_server.generate_python(folder)))
    return importlib.import_module("interop_pb2"), importlib.import_module("interop_pb2_grpc")


class Requests:
    """An iterator that the test feeds while the call goes on."""

    def __init__(self):
        self.items, self.is_closed = [], False

    def put(self, item):
        self.items.append(item)

    def close(self):
        self.is_closed = True

    def __iter__(self):
        return self

    def __next__(self):
        harness.wait_until(lambda: self.items or self.is_closed, DEADLINE_S, "a request")
        if not self.items:
            raise StopIteration
        return self.items.pop(0)


class Cases:
    """Each method a case, on self.stub."""

    def payload(self, size):
        return self.pb.Payload(body=bytes(size))

    def output_request(self, sizes, request_size=0):
        return self.pb.StreamingOutputCallRequest(
            response_parameters=[self.pb.ResponseParameters(size=size) for size in sizes],
            payload=self.payload(request_size))

    def fails(self, code, call, *args, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            answer = call(*args, timeout=DEADLINE_S, **options)
            if not isinstance(answer, (self.pb.Empty, self.pb.SimpleResponse)):
                list(answer)
        self.assertEqual(code, caught.exception.code())
        return caught.exception

    def test_empty_unary(self):
        self.assertEqual(self.pb.Empty(), self.stub.EmptyCall(self.pb.Empty(), timeout=DEADLINE_S))

    def large_unary(self):
        return self.stub.UnaryCall.future(
            self.pb.SimpleRequest(response_size=314159, payload=self.payload(271828)),
            timeout=DEADLINE_S)

    def test_large_unary(self):
        self.assertEqual(bytes(314159), self.large_unary().result().payload.body)

    def test_concurrent_large_unary(self):
        for call in [self.large_unary() for _ in range(MANY)]:
            self.assertEqual(314159, len(call.result().payload.body))

    def test_client_streaming(self):
        requests = (self.pb.StreamingInputCallRequest(payload=self.payload(size))
                    for size in REQUEST_SIZES)
        answer = self.stub.StreamingInputCall(requests, timeout=DEADLINE_S)
        self.assertEqual(sum(REQUEST_SIZES), answer.aggregated_payload_size)

    def test_server_streaming(self):
        answers = self.stub.StreamingOutputCall(self.output_request(RESPONSE_SIZES),
                                                timeout=DEADLINE_S)
        self.assertEqual(list(RESPONSE_SIZES), [len(answer.payload.body) for answer in answers])

    def test_ping_pong(self):
        requests = Requests()
        answers = self.stub.FullDuplexCall(requests, timeout=DEADLINE_S)
        for request_size, size in zip(REQUEST_SIZES, RESPONSE_SIZES):
            requests.put(self.output_request([size], request_size))
            self.assertEqual(size, len(next(answers).payload.body))
        requests.close()
        self.assertEqual([], list(answers))

    def test_half_duplex(self):
        requests = [self.output_request([size]) for size in RESPONSE_SIZES]
        answers = self.stub.HalfDuplexCall(iter(requests), timeout=DEADLINE_S)
        self.assertEqual(list(RESPONSE_SIZES), [len(answer.payload.body) for answer in answers])

    def test_empty_stream(self):
        self.assertEqual([], list(self.stub.FullDuplexCall(iter(()), timeout=DEADLINE_S)))
        answer = self.stub.StreamingInputCall(iter(()), timeout=DEADLINE_S)
        self.assertEqual(0, answer.aggregated_payload_size)

    def test_cancel_after_begin(self):
        requests = Requests()
        call = self.stub.StreamingInputCall.future(requests, timeout=DEADLINE_S)
        call.cancel()
        self.assertTrue(call.cancelled())
        self.assertEqual(grpc.StatusCode.CANCELLED, call.code())
        requests.close()

    def test_cancel_after_first_response(self):
        requests = Requests()
        answers = self.stub.FullDuplexCall(requests, timeout=DEADLINE_S)
        requests.put(self.output_request([31415], 27182))
        self.assertEqual(31415, len(next(answers).payload.body))
        answers.cancel()
        with self.assertRaises(grpc.RpcError):
            next(answers)
        self.assertEqual(grpc.StatusCode.CANCELLED, answers.code())
        requests.close()

    def test_timeout_on_sleeping_server(self):
        requests = Requests()
        answers = self.stub.FullDuplexCall(requests, timeout=0.001)
        with self.assertRaises(grpc.RpcError) as caught:
            requests.put(self.output_request([], 27182))
            next(answers)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, caught.exception.code())
        requests.close()

    def test_status_code_and_message(self):
        status = self.pb.EchoStatus(code=2, message=b"test status message")
        request = self.pb.SimpleRequest(response_status=status)
        error = self.fails(grpc.StatusCode.UNKNOWN, self.stub.UnaryCall, request)
        self.assertEqual("test status message", error.details())
        request = self.pb.StreamingOutputCallRequest(response_status=status)
        error = self.fails(grpc.StatusCode.UNKNOWN, self.stub.FullDuplexCall, iter([request]))
        self.assertEqual("test status message", error.details())

    def test_every_status_code(self):
        for code in grpc.StatusCode:
            number = code.value[0]
            if number == 0:
                continue
            status = self.pb.EchoStatus(code=number, message=code.name.encode())
            error = self.fails(code, self.stub.UnaryCall,
                               self.pb.SimpleRequest(response_status=status))
            self.assertEqual(code.name, error.details())

    def test_special_status_message(self):
        text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
        status = self.pb.EchoStatus(code=2, message=text.encode())
        error = self.fails(grpc.StatusCode.UNKNOWN, self.stub.UnaryCall,
                           self.pb.SimpleRequest(response_status=status))
        self.assertEqual(text, error.details())

    def test_custom_metadata(self):
        sent = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
        answer, call = self.stub.UnaryCall.with_call(
            self.pb.SimpleRequest(response_size=314159, payload=self.payload(271828)),
            metadata=sent, timeout=DEADLINE_S)
        self.assertEqual(314159, len(answer.payload.body))
        self.assertEqual(sent[0][1], dict(call.initial_metadata())[INITIAL])
        self.assertEqual(sent[1][1], dict(call.trailing_metadata())[TRAILING])
        answers = self.stub.FullDuplexCall(iter([self.output_request([31415])]), metadata=sent,
                                           timeout=DEADLINE_S)
        self.assertEqual(1, len(list(answers)))
        self.assertEqual(sent[0][1], dict(answers.initial_metadata())[INITIAL])
        self.assertEqual(sent[1][1], dict(answers.trailing_metadata())[TRAILING])

    def test_metadata_comes_back_with_an_error_too(self):
        sent = ((INITIAL, "a"), (TRAILING, b"\0\xff"))
        status = self.pb.EchoStatus(code=9, message=b"no")
        error = self.fails(grpc.StatusCode.FAILED_PRECONDITION, self.stub.UnaryCall,
                           self.pb.SimpleRequest(response_status=status), metadata=sent)
        self.assertEqual("a", dict(error.initial_metadata())[INITIAL])
        self.assertEqual(b"\0\xff", dict(error.trailing_metadata())[TRAILING])

    def test_unimplemented(self):
        for path in ("/grpc.testing.TestService/UnimplementedCall",
                     "/grpc.testing.UnimplementedService/UnimplementedCall"):
            call = self.channel.unary_unary(path, self.pb.Empty.SerializeToString,
                                            self.pb.Empty.FromString)
            self.fails(grpc.StatusCode.UNIMPLEMENTED, call, self.pb.Empty())

    def test_gzip_both_ways(self):
        request = self.pb.SimpleRequest(
            response_size=314159, payload=self.payload(271828),
            expect_compressed=self.pb.BoolValue(value=True),
            response_compressed=self.pb.BoolValue(value=True))
        answer, call = self.stub.UnaryCall.with_call(request, timeout=DEADLINE_S,
                                                     compression=grpc.Compression.Gzip)
        self.assertEqual(bytes(314159), answer.payload.body)
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.stub.UnaryCall, request)
        self.assertEqual(grpc.StatusCode.OK, call.code())


class PythonTest(Cases, interop_server.InteropCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pb, cls.pb_grpc = load(cls.folder)

    @contextlib.contextmanager
    def open(self):
        with grpc.insecure_channel(self.plain.address) as channel:
            yield channel

    def setUp(self):
        self.channel = self.enterContext(self.open())
        self.stub = self.pb_grpc.TestServiceStub(self.channel)


class PythonTlsTest(PythonTest):
    def open(self):
        credentials = grpc.ssl_channel_credentials(self.authority.cert.read_bytes())
        return grpc.secure_channel(self.tls.address, credentials)


class PythonMutualTlsTest(PythonTest):
    def open(self):
        cert, key = self.authority.issue("client")
        credentials = grpc.ssl_channel_credentials(
            self.authority.cert.read_bytes(), key.read_bytes(), cert.read_bytes())
        return grpc.secure_channel(self.mutual.address, credentials)


if __name__ == "__main__":
    unittest.main(verbosity=2)
