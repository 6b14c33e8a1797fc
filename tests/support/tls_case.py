"""A daemon with TLS, an authority that its clients trust, and clients of both kinds."""

import socket
import ssl

import grpc

from support import certificates, harness


class TlsCase(harness.PostgresCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = certificates.Authority(cls.folder)
        cls.stranger = certificates.Authority(cls.folder, "stranger")
        cls.cert, cls.key = cls.authority.issue("server")
        cls.client = cls.authority.issue("client")
        cls.unknown_client = cls.stranger.issue("unknown")

    def tls(self, **more):
        return {"tls.cert_file": self.cert, "tls.key_file": self.key,
                **{f"tls.{name}": value for name, value in more.items()}}

    def credentials(self, client=None):
        cert, key = client or (None, None)
        return grpc.ssl_channel_credentials(
            self.authority.cert.read_bytes(), key and key.read_bytes(),
            cert and cert.read_bytes())

    def start(self, settings, client=None, **options):
        return self.start_daemon(settings, credentials=self.credentials(client), **options)

    def received(self, sock):
        """All of it until the daemon closes, which it has to."""
        got = b""
        try:
            while data := sock.recv(65536):
                got += data
        except ConnectionError:
            pass
        except socket.timeout:
            self.fail("the connection was kept")
        return got

    def context(self, client=None, alpn=("h2",)):
        context = ssl.create_default_context(cafile=self.authority.cert)
        if client:
            context.load_cert_chain(*client)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def connect(self, daemon, context=None):
        """A socket after the handshake."""
        return self.wrap(self.connect_plain(daemon), context)

    def connect_plain(self, daemon, timeout=20):
        sock = socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout)
        self.addCleanup(sock.close)
        return sock

    def wrap(self, plain, context=None, **options):
        sock = (context or self.context()).wrap_socket(plain, server_hostname="localhost",
                                                       **options)
        self.addCleanup(sock.close)
        return sock

    def refusal(self, daemon, context):
        """What OpenSSL says, at the handshake or, with TLS 1.3, at the first read."""
        with self.assertRaises((ssl.SSLError, ConnectionError)) as caught:
            sock = self.connect(daemon, context)
            if not sock.recv(1):
                raise ConnectionError("closed")
        return str(caught.exception)

    def is_served(self, daemon, client=None):
        with grpc.secure_channel(daemon.address, self.credentials(client)) as channel:
            try:
                self.stubs.health_grpc.HealthStub(channel).Check(
                    self.stubs.health.HealthCheckRequest(), timeout=20)
            except grpc.RpcError as error:
                self.assertEqual(grpc.StatusCode.UNAVAILABLE, error.code())
                return False
        return True
