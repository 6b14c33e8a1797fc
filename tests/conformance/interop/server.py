"""grpc.testing.TestService on grpcio, for our client.

    server.py STUBS_FOLDER PORT_FILE [CERT_FILE KEY_FILE [CLIENT_CA_FILE]]

Serves on a free port of 127.0.0.1, which it writes into PORT_FILE, until SIGTERM. The folder has the
modules made from interop.proto.
"""

import concurrent.futures
import os
import pathlib
import signal
import sys

import grpc

sys.path.insert(0, sys.argv[1])

import interop_pb2 as pb  # noqa: E402
import interop_pb2_grpc as pb_grpc  # noqa: E402

INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
THREADS = 64
GRACE_S = 5


def give_metadata_back(context):
    sent = list(context.invocation_metadata())
    context.send_initial_metadata([pair for pair in sent if pair[0] == INITIAL])
    context.set_trailing_metadata([pair for pair in sent if pair[0] == TRAILING])


def end_as_asked(request, context):
    """Doesn't return when the call shall end with an error."""
    if request.response_status.code:
        context.set_code(next(code for code in grpc.StatusCode
                              if code.value[0] == request.response_status.code))
        context.set_details(request.response_status.message.decode())
        raise grpc.RpcError


class Service(pb_grpc.TestServiceServicer):
    def EmptyCall(self, request, context):
        give_metadata_back(context)
        return pb.Empty()

    def UnaryCall(self, request, context):
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        give_metadata_back(context)
        end_as_asked(request, context)
        return pb.SimpleResponse(payload=pb.Payload(body=bytes(request.response_size)),
                                 server_id=b"grpcio" if request.fill_server_id else b"")

    def StreamingInputCall(self, request_iterator, context):
        give_metadata_back(context)
        return pb.StreamingInputCallResponse(
            aggregated_payload_size=sum(len(request.payload.body) for request in request_iterator))

    def answers(self, request, context):
        for wanted in request.response_parameters:
            if not wanted.compressed.value:
                context.disable_next_message_compression()
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=bytes(wanted.size)))
        end_as_asked(request, context)

    def StreamingOutputCall(self, request, context):
        if any(wanted.compressed.value for wanted in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        give_metadata_back(context)
        yield from self.answers(request, context)

    def FullDuplexCall(self, request_iterator, context):
        give_metadata_back(context)
        for request in request_iterator:
            yield from self.answers(request, context)

    def HalfDuplexCall(self, request_iterator, context):
        give_metadata_back(context)
        for request in list(request_iterator):
            yield from self.answers(request, context)


def listen(server, cert=None, key=None, client_ca=None):
    if not cert:
        return server.add_insecure_port("127.0.0.1:0")
    read = [pathlib.Path(name).read_bytes() for name in (key, cert)]
    root = pathlib.Path(client_ca).read_bytes() if client_ca else None
    return server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
        [tuple(read)], root_certificates=root, require_client_auth=root is not None))


def main(port_file, *files):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS))
    pb_grpc.add_TestServiceServicer_to_server(Service(), server)
    port = listen(server, *files)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(GRACE_S))
    temporary = pathlib.Path(f"{port_file}.new")
    temporary.write_text(f"{port}\n", encoding="ascii")
    os.rename(temporary, port_file)
    server.wait_for_termination()


main(*sys.argv[2:])
