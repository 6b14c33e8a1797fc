"""Who a certificate or token stands for, and that each event is stored with its writer."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402

from support import access, events, harness, ledgers  # noqa: E402
from support.access import ANONYMOUS, LIST, WRITE  # noqa: E402

INVALID, NAMELESS = "invalid", "nameless"


def der(*names):
    """What openssl takes for a subjectAltName of these (tag, bytes): 6 is a URI, 2 a DNS name."""
    content = b""
    for tag, name in names:
        content += bytes([0x80 | tag]) + length(len(name)) + name
    return "DER:" + (b"\x30" + length(len(content)) + content).hex(":")


def length(number):
    if number < 0x80:
        return bytes([number])
    digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits


# (subjectAltName, subject, principal)
CERTIFICATES = (
    ("URI:spiffe://prod/billing", "/CN=x", "spiffe://prod/billing"),
    ("URI:SPIFFE://Prod/Billing", "/CN=x", "SPIFFE://Prod/Billing"),
    ("URI:spiffe://first,URI:spiffe://second", "/CN=x", "spiffe://first"),
    ("DNS:a.test,IP:127.0.0.1,URI:urn:uuid:1", "/CN=x", "urn:uuid:1"),
    ("DNS:API.Example.COM,DNS:b.test", "/CN=x", "dns:api.example.com"),
    ("DNS:*.example.com", "/CN=x", "dns:*.example.com"),
    ("", "/CN=alice", "cn:alice"),
    ("", "/O=Example/CN=alice smith/CN=bob", "cn:alice smith"),
    ("IP:127.0.0.1,email:a@example.com", "/CN=carol", "cn:carol"),
    # Its owner would pass for somebody else.
    ("URI:dns:admin.test,DNS:real.test", "/CN=x", "dns:real.test"),
    ("URI:DNS:admin.test,URI:spiffe://real", "/CN=x", "spiffe://real"),
    ("URI:token:admin", "/CN=real", "cn:real"),
    ("URI:Cn:admin", "/CN=real", "cn:real"),
    ("URI:auditstore:self", "/CN=real", "cn:real"),
    ("URI:anonymous", "/CN=real", "cn:real"),
    ("URI:/path,DNS:real.test", "/CN=x", "dns:real.test"),
    # Somebody may read it in another way.
    (der((2, b"admin.test\0.evil.test")), "/CN=x", INVALID),
    (der((6, b"spiffe://admin\0/evil")), "/CN=x", INVALID),
    (der((6, b"spiffe://\xff\xfe")), "/CN=x", INVALID),
    (der((6, b"spiffe://a\nb")), "/CN=x", INVALID),
    (der((2, b"")), "/CN=x", INVALID),
    (der((6, b"spiffe://" + b"a" * 2040)), "/CN=x", INVALID),
    (der((6, b"spiffe://" + b"a" * 2039)), "/CN=x", "spiffe://" + "a" * 2039),
    # There is nothing to go by.
    ("IP:127.0.0.1", "/O=nobody", NAMELESS),
)


class PrincipalCase(access.AccessCase):
    def write(self, daemon, caller, event=None, **options):
        """Writes one event, and returns it as it is stored."""
        event = event or self.make_event(event_id=events.new_id())
        channel = self.open_channel(daemon, caller)
        stub = self.stubs.store_grpc.AuditStoreStub(channel)
        stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[event]), timeout=30,
                         metadata=(*caller.metadata(), *options.get("metadata", ())))
        return self.stored(stub, caller, event.event_id)

    def stored(self, stub, caller, event_id):
        return stub.GetEvent(self.stubs.store.GetEventRequest(event_id=event_id), timeout=30,
                             metadata=caller.metadata()).event

    ALL = {"access.writers": "'*'", "access.readers": "'*'"}


class NamesTest(PrincipalCase):
    def test_what_a_certificate_stands_for(self):
        daemon = self.start(self.ALL)
        for san, subject, expected in CERTIFICATES:
            with self.subTest(san=san[:60], subject=subject):
                caller = self.by_certificate(expected, san=san, subject=subject)
                if expected in (INVALID, NAMELESS):
                    reason = "CREDENTIALS_INVALID" if expected == INVALID else "CREDENTIALS_MISSING"
                    self.assertEqual(reason, self.reason(self.error(daemon, WRITE, caller))[2])
                else:
                    self.assertEqual(expected, self.write(daemon, caller).principal)

    def test_a_certificate_that_is_not_asked_for_stands_for_nobody(self):
        caller = self.by_cn("alice")
        settings = {"tls.cert_file": self.cert, "tls.key_file": self.key}
        daemon = self.start_daemon(settings, credentials=grpc.ssl_channel_credentials(
            self.authority.cert.read_bytes()))
        self.assertEqual("anonymous", self.write(daemon, caller).principal)

    def test_a_session_that_is_resumed_has_the_same_principal(self):
        caller = self.by_uri("spiffe://prod/resumed")
        daemon = self.start({**self.ALL, "server.max_connection_age": "100ms",
                             "server.max_connection_age_grace": "1s"})
        channel = self.open_channel(daemon, caller)
        stub = self.stubs.store_grpc.AuditStoreStub(channel)
        accepted = daemon.metrics()["auditstore_grpc_connections_total"]
        while daemon.metrics()["auditstore_grpc_connections_total"] < accepted + 3:
            event = self.make_event(event_id=events.new_id())
            stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[event]), timeout=30,
                             wait_for_ready=True)
            self.assertEqual(caller.principal, self.stored(stub, caller, event.event_id).principal)


class StoredTest(PrincipalCase):
    def test_each_event_has_its_writer_and_the_leaf_is_made_with_it(self):
        callers = [self.token("ci"), self.by_uri("spiffe://prod/a"), self.by_cn("alice"), ANONYMOUS]
        daemon = self.start({"access.anonymous_roles": "writer,reader"})
        for caller in callers:
            self.assertEqual(caller.principal, self.write(daemon, caller).principal)
        for caller in callers:
            channel = self.open_channel(daemon, caller)
            stub = self.stubs.store_grpc.AuditStoreStub(channel)
            sent = [self.make_event(event_id=events.new_id()) for _ in range(20)]
            batches = [self.stubs.store.StreamEventsRequest(events=sent[i:i + 4])
                       for i in range(0, 20, 4)]
            for ack in stub.StreamEvents(iter(batches), timeout=30, metadata=caller.metadata()):
                self.assertEqual(0, ack.status.code)
            for event in sent:
                self.assertEqual(caller.principal,
                                 self.stored(stub, caller, event.event_id).principal)
        stub = self.stubs.store_grpc.AuditStoreStub(self.open_channel(daemon, ANONYMOUS))
        ledgers.check(self, self.postgres)
        ledgers.check_leaves(self, self.postgres, stub, self.stubs)
        self.check_filter(stub, callers)

    def check_filter(self, stub, callers):
        def count(*principals):
            wanted = self.stubs.store.EventFilter(principals=principals)
            page = stub.ListEvents(self.stubs.store.ListEventsRequest(filter=wanted), timeout=30)
            return len(page.events), {event.principal for event in page.events}
        for caller in callers:
            self.assertEqual((21, {caller.principal}), count(caller.principal))
        self.assertEqual((42, {"token:ci", "anonymous"}), count("token:ci", "anonymous", "cn:none"))
        self.assertEqual((0, set()), count("cn:none"))

    def test_nothing_that_a_caller_sends_makes_another_principal(self):
        alice = self.by_cn("alice")
        daemon = self.start(self.ALL)
        forged = self.make_event(event_id=events.new_id(), event_data='{"principal":"cn:root"}')
        # A field of StoredEvent, where AuditEvent has none: unknown fields are passed over.
        forged = self.stubs.event.AuditEvent.FromString(
            forged.SerializeToString() + b"\xaa\x06\x07cn:root")
        metadata = (("principal", "cn:root"), ("x-auth-request-user", "cn:root"),
                    ("x-forwarded-client-cert", "URI=spiffe://root"))
        self.assertEqual("cn:alice", self.write(daemon, alice, forged, metadata=metadata).principal)

    def test_a_repeat_leaves_the_first_writer(self):
        first, second = self.token("first"), self.token("second")
        daemon = self.start(self.ALL)
        event = self.make_event(event_id=events.new_id())
        self.assertEqual("token:first", self.write(daemon, first, event).principal)
        self.assertEqual("token:first", self.write(daemon, second, event).principal)
        self.assertEqual("1", self.postgres.value(
            f"SELECT count(*) FROM audit_events WHERE event_id = '{event.event_id}'"))

    def test_an_invalid_filter_is_refused(self):
        daemon = self.start({"access.anonymous_roles": "reader"})
        for bad in ("", "x" * 2049):
            request = self.stubs.store.ListEventsRequest(
                filter=self.stubs.store.EventFilter(principals=["cn:x", bad]))
            error = self.error(daemon, LIST, ANONYMOUS, request)
            (found,) = harness.status_details(error, self.stubs.details.BadRequest)
            self.assertEqual("filter.principals[1]", found.field_violations[0].field)


class SchemaTest(harness.PostgresCase):
    def test_a_schema_without_principals_is_refused_until_it_is_migrated(self):
        self.postgres.sql("ALTER TABLE audit_events DROP COLUMN principal;"
                          "DROP FUNCTION audit_surroundings, audit_surroundings_now,"
                          " audit_partition_triggers;"
                          "DELETE FROM schema_migrations WHERE version > 1")
        done = harness.run_daemon(settings={"server.listen": "127.0.0.1:0", "http.listen": "off",
                                            **self.postgres.daemon_settings()})
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stderr, r"schema is at version 1, this program needs \d+: "
                                      "run: auditstored migrate")
        self.postgres.sql(
            "CREATE TABLE audit_events_2020_01 PARTITION OF audit_events"
            " FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00');"
            "INSERT INTO audit_events (event_id, event_time, received_at, ledger_id, sequence,"
            " event_type, event_category, event_action, outcome) VALUES (gen_random_uuid(),"
            " '2020-01-02', now(), 1000, 0, 'old', 'c', 'a', 1)")
        harness.migrate(self.postgres)
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        (old,) = stub.ListEvents(self.stubs.store.ListEventsRequest(), timeout=30).events
        self.assertEqual(("old", ""), (old.event.event_type, old.principal))
        stub.WriteEvents(self.stubs.store.WriteEventsRequest(events=[events.make(self.stubs)]),
                         timeout=30)
        self.assertEqual("anonymous", self.postgres.value(
            "SELECT principal FROM audit_events WHERE event_type <> 'old'"))


if __name__ == "__main__":
    unittest.main()
