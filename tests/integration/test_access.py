"""Who is calling, and what he may do: every method, every role, every kind of identity."""

import hashlib
import pathlib
import signal
import sys
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import access, harness  # noqa: E402
from support.access import ANONYMOUS, GET, INFO, LIST, ROLES, STREAM, WRITE, Caller  # noqa: E402
from support.effects import effect_of  # noqa: E402

EVERYBODY = (*ROLES, "none")
METHODS = {
    WRITE: ("writer",),
    STREAM: ("writer",),
    GET: ("reader", "auditor"),
    LIST: ("reader", "auditor"),
    INFO: ("admin",),
    "/grpc.health.v1.Health/Check": EVERYBODY,
    "/grpc.health.v1.Health/List": EVERYBODY,
    "/grpc.health.v1.Health/Watch": EVERYBODY,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": EVERYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": EVERYBODY,
}
MISSING = ("UNAUTHENTICATED",
           "this call needs credentials: a bearer token or a client certificate",
           "CREDENTIALS_MISSING")
INVALID = ("UNAUTHENTICATED", "the credentials are not valid", "CREDENTIALS_INVALID")
NO_ROLE = ("PERMISSION_DENIED", "the caller may not call this method", "ROLE_MISSING")


class TableTest(access.AccessCase):
    """Every method x role x kind of identity."""

    def lists(self, names):
        """Settings that give each of the names its role: names maps a role to patterns."""
        return {f"access.{role}s": ", ".join(patterns) for role, patterns in names.items()}

    def check_row(self, daemon, caller, roles):
        channel = self.open_channel(daemon, caller)
        for path, admitted in METHODS.items():
            with self.subTest(method=path, caller=caller.principal, roles=roles):
                try:
                    self.start_call(channel, path, caller)
                    outcome = "OK"
                except grpc.RpcError as error:
                    outcome = error.code().name
                    if outcome in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                        outcome = self.reason(error)
                if set(roles) & set(admitted) or "none" in admitted:
                    self.assertEqual("NOT_FOUND" if path == GET else "OK", outcome)
                else:
                    self.assertEqual(MISSING if caller == ANONYMOUS else NO_ROLE, outcome)

    @effect_of("access.token_file", "access.writers", "access.readers", "access.auditors",
               "access.admins")
    def test_each_role_of_each_kind_admits_to_its_methods_and_to_no_others(self):
        kinds = {
            "token": lambda role: self.token(f"{role}-x"),
            "uri": lambda role: self.by_uri(f"spiffe://test/{role}/x"),
            "dns": lambda role: self.by_dns(f"{role}.test"),
            "cn": lambda role: self.by_cn(f"{role} x"),
        }
        callers = {(kind, role): make(role) for kind, make in kinds.items() for role in EVERYBODY}
        daemon = self.start(self.lists({
            role: (f"token:{role}-*", f"spiffe://test/{role}/*", f"dns:{role}.test", f"cn:{role} x")
            for role in ROLES}))
        for (_, role), caller in callers.items():
            self.check_row(daemon, caller, (role,))

    def test_several_roles_admit_to_the_methods_of_each(self):
        caller = self.by_uri("spiffe://test/several")
        daemon = self.start(self.lists({"writer": ["spiffe://*"], "admin": ["dns:x", "*"]}))
        self.check_row(daemon, caller, ("writer", "admin"))
        self.check_row(daemon, self.by_cn("other"), ("admin",))

    @effect_of("access.anonymous_roles")
    def test_who_shows_nothing_has_the_roles_of_everybody(self):
        known = self.by_cn("known")
        daemon = self.start()
        for roles in ((), *((role,) for role in ROLES), ROLES):
            setting = ",".join(roles) or "off"
            self.reload(daemon, {"access.anonymous_roles": setting, "access.writers": "cn:nobody"})
            self.check_row(daemon, ANONYMOUS, roles or ("none",))
            self.check_row(daemon, known, roles or ("none",))

    def test_by_default_everybody_may_do_everything(self):
        daemon = self.start_daemon()
        stub = self.open_stub(daemon)
        stub.WriteEvents(self.request(WRITE), timeout=30)
        self.assertEqual(1, len(stub.ListEvents(self.request(LIST), timeout=30).events))

    def test_the_table_has_every_method_there_is(self):
        daemon = self.start_daemon()
        found = set()
        with daemon.channel() as channel:
            stub = self.stubs.reflection_grpc.ServerReflectionStub(channel)

            def ask(**question):
                request = self.stubs.reflection.ServerReflectionRequest(**question)
                return next(stub.ServerReflectionInfo(iter([request]), timeout=30))
            for service in ask(list_services="").list_services_response.service:
                answer = ask(file_containing_symbol=service.name).file_descriptor_response
                found |= self.methods_of(service.name, answer.file_descriptor_proto)
        self.assertEqual(found, set(METHODS))

    def methods_of(self, service, files):
        from google.protobuf import descriptor_pb2  # pylint: disable=import-outside-toplevel
        found = set()
        for data in files:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            for declared in file.service:
                if f"{file.package}.{declared.name}" == service:
                    found |= {f"/{service}/{method.name}" for method in declared.method}
        self.assertTrue(found, service)
        return found

    def test_the_page_of_roles_is_up_to_date(self):
        printed = harness.run_daemon("--print-roles-reference").stdout
        self.assertEqual((harness.ROOT / "docs" / "roles.md").read_text("utf-8"), printed,
                         "auditstored --print-roles-reference > docs/roles.md")
        for path, admitted in METHODS.items():
            (row,) = [line for line in printed.splitlines() if f"`{path}`" in line]
            cells = [cell.strip() for cell in row.split("|")[2:-1]]
            self.assertEqual([(role in admitted) * "yes" for role in EVERYBODY], cells, path)


class CredentialsTest(access.AccessCase):
    def check_invalid(self, daemon, caller):
        self.assertEqual(INVALID, self.reason(self.error(daemon, WRITE, caller)), caller)

    def test_bad_tokens_of_all_kinds_get_one_answer(self):
        good = self.token("ci")
        daemon = self.start({"access.writers": "'*'", "access.anonymous_roles": "writer"})
        self.assertEqual("OK", self.call(daemon, WRITE, good))
        text = good.authorization.split()[1]
        digest = hashlib.sha256(text.encode()).hexdigest()
        known = self.by_cn("known")
        for authorization in ("Bearer wrong", f"Bearer {text[:-1]}", f"Bearer {text}0",
                              f"Bearer {text.upper()}x", f"Bearer {digest}", "Bearer", "Bearer ",
                              "", text, f"Basic {text}", f"Bearer {text} {text}", "Bearer " + "x" * 9000,
                              f"Token {text}"):
            self.check_invalid(daemon, Caller("", None, authorization))
            self.check_invalid(daemon, Caller("", known.certificate, authorization))

    def check_two_are_none(self, daemon, caller):
        channel = self.open_channel(daemon, caller)
        with self.assertRaises(grpc.RpcError) as caught:
            channel.unary_unary(WRITE)(self.request(WRITE).SerializeToString(), timeout=30,
                                       metadata=2 * caller.metadata())
        self.assertEqual(INVALID, self.reason(caught.exception))

    def test_two_tokens_are_none(self):
        good = self.token("twice")
        self.check_two_are_none(self.start({"access.writers": "'*'"}), good)

    def test_nothing_is_never_a_token(self):
        good = self.token("something")
        text = self.tokens.read_text("ascii")
        self.addCleanup(self.tokens.write_text, text, "ascii")
        daemon = self.start({"access.writers": "'*'"})
        self.tokens.write_text(f"{text}nothing {hashlib.sha256(b'').hexdigest()}\n", "ascii")
        daemon.signal(signal.SIGHUP)
        harness.wait_until(lambda: "tokens not reloaded" in daemon.log()
                           or daemon.log().count("tokens read") > 1)
        for authorization in ("Basic x", "Bearer", "Bearer ", "Bearer   ", "", "garbage"):
            self.check_invalid(daemon, Caller("", None, authorization))
        self.check_two_are_none(daemon, good)

    def test_the_scheme_has_no_case_and_blanks_do_not_count(self):
        good = self.token("case")
        daemon = self.start({"access.writers": "token:case"})
        text = good.authorization.split()[1]
        for authorization in (f"bearer {text}", f"BEARER   {text} "):
            self.assertEqual("OK", self.call(daemon, WRITE, Caller("", None, authorization)))

    def test_a_token_wins_over_the_certificate(self):
        token = self.token("wins")
        certificate = self.by_cn("loses")
        both = Caller("", certificate.certificate, token.authorization)
        daemon = self.start({"access.writers": "token:wins", "access.readers": "cn:loses"})
        self.assertEqual(["OK", "PERMISSION_DENIED"],
                         [self.call(daemon, path, both) for path in (WRITE, LIST)])
        self.assertEqual(["PERMISSION_DENIED", "OK"],
                         [self.call(daemon, path, certificate) for path in (WRITE, LIST)])

    def test_without_a_file_no_token_is_known(self):
        token = self.token("ci")
        daemon = self.start({"access.token_file": '""', "access.writers": "'*'",
                             "access.anonymous_roles": "writer"})
        self.check_invalid(daemon, token)
        self.assertEqual("OK", self.call(daemon, WRITE, ANONYMOUS))

    def test_health_and_reflection_do_not_look_at_credentials(self):
        daemon = self.start()
        wrong = Caller("", None, "Bearer wrong")
        for path in METHODS:
            expected = "OK" if METHODS[path] == EVERYBODY else "UNAUTHENTICATED"
            self.assertEqual(expected, self.call(daemon, path, wrong), path)


if __name__ == "__main__":
    unittest.main()
