"""Callers of every kind, and a daemon that knows them: what tests of access control share.

    class SomeTest(access.AccessCase):
        def test_it(self):
            daemon = self.start({"access.writers": "token:ci"})
            ci = self.token("ci")
            self.call(daemon, WRITE, ci)     # "OK", or the name of a status
"""

import dataclasses
import hashlib
import itertools
import os
import pathlib
import queue
import signal

import grpc

from support import certificates, events, harness

ROLES = ("writer", "reader", "auditor", "admin")
WRITE = "/auditstore.v1.AuditStore/WriteEvents"
STREAM = "/auditstore.v1.AuditStore/StreamEvents"
GET = "/auditstore.v1.AuditStore/GetEvent"
LIST = "/auditstore.v1.AuditStore/ListEvents"
INFO = "/auditstore.v1.Admin/GetServerInfo"


@dataclasses.dataclass(frozen=True)
class Caller:
    """Somebody with a client certificate, a token, both or neither."""
    principal: str
    certificate: tuple = None
    authorization: str = None

    def metadata(self):
        return (("authorization", self.authorization),) if self.authorization is not None else ()


ANONYMOUS = Caller("anonymous")


class AccessCase(harness.PostgresCase):
    """One PostgreSQL, an authority, and daemons with TLS that ask for certificates."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = certificates.Authority(cls.folder)
        cls.cert, cls.key = cls.authority.issue("server")
        cls.tokens = cls.folder / "tokens"
        cls.tokens.write_text("# nobody yet\n", encoding="ascii")
        cls.tokens.chmod(0o640)
        cls.numbers = itertools.count()

    def start(self, settings=None, overrides=None, **options):
        """A daemon with a file of settings, which reload() rewrites, and with some that stay."""
        self.file = self.folder / f"access{next(self.numbers)}.yaml"
        self.fixed = {"tls.cert_file": self.cert, "tls.key_file": self.key,
                      "tls.client_ca_file": self.authority.cert,
                      "tls.client_certificates": "optional",
                      "access.token_file": self.tokens}
        harness.write_config(self.file, {**self.fixed, "access.anonymous_roles": "off",
                                         **(settings or {})})
        credentials = grpc.ssl_channel_credentials(self.authority.cert.read_bytes())
        return self.start_daemon(overrides, config=self.file, credentials=credentials, **options)

    def reload(self, daemon, settings, until="settings reloaded"):
        """New settings in the place of those given to start(); waits for the log to say `until`."""
        before = daemon.log().count(until)
        harness.write_config(self.file, {**self.fixed, "access.anonymous_roles": "off", **settings})
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: daemon.log().count(until) > before, what=until)
        # What a reload does after that line is done when the next call is answered.
        daemon.health()

    # ---- callers ----

    def by_certificate(self, principal, **options):
        name = f"client{next(self.numbers)}"
        return Caller(principal, self.authority.issue(name, **options))

    def by_uri(self, uri):
        return self.by_certificate(uri, san=f"URI:{uri}")

    def by_dns(self, name):
        return self.by_certificate(f"dns:{name}", san=f"DNS:{name}")

    def by_cn(self, name):
        return self.by_certificate(f"cn:{name}", san="", subject=f"/CN={name}")

    def token(self, name):
        """A new token in the file, beside those that are there."""
        token = os.urandom(16).hex()
        digest = hashlib.sha256(token.encode()).hexdigest()
        with open(self.tokens, "a", encoding="ascii") as out:
            out.write(f"{name} {digest}\n")
        return Caller(f"token:{name}", authorization=f"Bearer {token}")

    # ---- calls ----

    def open_channel(self, daemon, caller):
        cert, key = caller.certificate or (None, None)
        credentials = grpc.ssl_channel_credentials(
            self.authority.cert.read_bytes(), key and pathlib.Path(key).read_bytes(),
            cert and pathlib.Path(cert).read_bytes())
        channel = grpc.secure_channel(daemon.address, credentials,
                                      options=harness.TLS_CHANNEL_OPTIONS)
        self.addCleanup(channel.close)
        return channel

    def make_event(self, **fields):
        return events.make(self.stubs, **fields)

    def request(self, path):
        store = self.stubs.store
        return {
            WRITE: lambda: store.WriteEventsRequest(events=[self.make_event()]),
            STREAM: lambda: store.StreamEventsRequest(events=[self.make_event()]),
            GET: lambda: store.GetEventRequest(event_id=events.new_id()),
            LIST: store.ListEventsRequest,
            INFO: self.stubs.admin.GetServerInfoRequest,
            "/grpc.health.v1.Health/Check": self.stubs.health.HealthCheckRequest,
            "/grpc.health.v1.Health/List": self.stubs.health.HealthListRequest,
            "/grpc.health.v1.Health/Watch": self.stubs.health.HealthCheckRequest,
        }.get(path, lambda: self.stubs.reflection.ServerReflectionRequest(list_services=""))()

    def start_call(self, channel, path, caller, request=None):
        """The first message of the answer, as bytes."""
        data = (request or self.request(path)).SerializeToString()
        options = {"metadata": caller.metadata(), "timeout": 60}
        if path.endswith(("StreamEvents", "ServerReflectionInfo")):
            return next(channel.stream_stream(path)(iter([data]), **options))
        if path.endswith("Watch"):
            answers = channel.unary_stream(path)(data, **options)
            first = next(answers)
            answers.cancel()
            return first
        return channel.unary_unary(path)(data, **options)

    def error(self, daemon, path, caller, request=None):
        """The grpc.RpcError that a call ends with; None when it goes well."""
        try:
            self.start_call(self.open_channel(daemon, caller), path, caller, request)
        except grpc.RpcError as error:
            return error
        return None

    def call(self, daemon, path, caller, request=None):
        error = self.error(daemon, path, caller, request)
        return error.code().name if error else "OK"

    def reason(self, error):
        """(code, text, reason in ErrorInfo)"""
        (info,) = harness.status_details(error, self.stubs.details.ErrorInfo)
        self.assertEqual("auditstore", info.domain)
        return error.code().name, error.details(), info.reason


class Stream:
    """A StreamEvents call that is sent batch by batch."""

    def __init__(self, case, daemon, caller):
        self.case = case
        self.requests = queue.Queue()
        stub = case.stubs.store_grpc.AuditStoreStub(case.open_channel(daemon, caller))
        self.answers = stub.StreamEvents(iter(self.requests.get, None), timeout=60,
                                         metadata=caller.metadata())
        case.addCleanup(self.requests.put, None)

    def send(self, count=1):
        """The status of the batch's answer."""
        self.requests.put(self.case.stubs.store.StreamEventsRequest(
            events=[self.case.make_event() for _ in range(count)]))
        return next(self.answers).status

    def refusal(self):
        """(code, text, reason) that the stream ends with when it sends once more."""
        with self.case.assertRaises(grpc.RpcError) as caught:
            self.send()
        return self.case.reason(caught.exception)
