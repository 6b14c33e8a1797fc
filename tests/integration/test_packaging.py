"""The installed client library serves a program that knows only find_package or pkg-config."""

import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import harness  # noqa: E402

# The least that a program does, and one that makes a call.
FIVE_LINES = """
#include <auditstore/auditstore.h>
int main(void) {
  struct auditstore_channel *channel = auditstore_channel_new("localhost:1", NULL, NULL);
  auditstore_channel_free(channel);
  return channel ? 0 : 1; }
"""

CONSUMER = """
#include <auditstore/auditstore.h>
#include <stdio.h>

/* A program may have names that the library uses inside. */
int call_end(void);
int buf_init(void);
int call_end(void) { return 0; }
int buf_init(void) { return 0; }

int main(void) {
  struct auditstore_channel *channel = auditstore_channel_new("127.0.0.1:1", NULL, NULL);
  if (call_end() + buf_init() != 0)
    return 1;
  Auditstore__V1__GetEventRequest request = AUDITSTORE__V1__GET_EVENT_REQUEST__INIT;
  Auditstore__V1__GetEventResponse *response = NULL;
  struct auditstore_status status = {0};
  enum auditstore_code code =
      auditstore_v1_audit_store_get_event(channel, &request, &response, NULL, &status);
  puts(auditstore_code_name(code));
  auditstore_status_deinit(&status);
  auditstore_channel_free(channel);
  return 0;
}
"""

# What a library that never ends or speaks for its program has no use for.
ENDING = {"abort", "exit", "_exit", "__assert_fail", "stderr", "stdout", "puts", "perror", "printf",
          "fprintf", "vfprintf", "__printf_chk", "__fprintf_chk", "__vfprintf_chk"}

OWN = ("auditstore_", "google__", "grpc__", "grpc_health_v1_")

CMAKE = """
cmake_minimum_required(VERSION 3.25)
project(consumer C)
find_package(auditstore 0.1 REQUIRED)
add_executable(consumer_shared consumer.c)
target_link_libraries(consumer_shared PRIVATE auditstore::auditstore)
add_executable(consumer_static consumer.c)
target_link_libraries(consumer_static PRIVATE auditstore::static)
add_executable(five_lines_shared five_lines.c)
target_link_libraries(five_lines_shared PRIVATE auditstore::auditstore)
add_executable(five_lines_static five_lines.c)
target_link_libraries(five_lines_static PRIVATE auditstore::static)
"""

OWN_PROTO = """
syntax = "proto3";
package door;
message Knock { int32 count = 1; }
service Door { rpc Open(Knock) returns (Knock); }
"""

OWN_PROGRAM = """
#include "door.stub.h"
#include <string.h>
int main(void) { return strcmp(door_door_open_method.path, "/door.Door/Open"); }
"""


# Stubs that the program generated for itself, beside the library's.
OWN_STUBS = ("google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/any.proto",
             "google/rpc/status.proto", "grpc/health/v1/health.proto")

OWN_STUBS_PROGRAM = """
#include <auditstore/auditstore.h>
#include "google/rpc/status.pb-c.h"
#include "grpc/health/v1/health.stub.h"
#include <stdio.h>
#include <string.h>

/* An event with a time, packed and unpacked: the library's message around the program's own. */
static int returns(void) {
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  uint8_t bytes[64];
  time.seconds = 1234567890;
  event.event_time = &time;
  size_t len = auditstore__v1__audit_event__pack(&event, bytes);
  Auditstore__V1__AuditEvent *back = auditstore__v1__audit_event__unpack(NULL, len, bytes);
  int ok = back && back->event_time && back->event_time->seconds == time.seconds &&
           back->event_time->base.descriptor == &google__protobuf__timestamp__descriptor;
  auditstore__v1__audit_event__free_unpacked(back, NULL);
  return ok;
}

int main(void) {
  struct auditstore_channel *channel = auditstore_channel_new("127.0.0.1:1", NULL, NULL);
  Google__Rpc__Status own = GOOGLE__RPC__STATUS__INIT;
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  Grpc__Health__V1__HealthCheckResponse *response = NULL;
  struct auditstore_status status = {0};
  int code = grpc_health_v1_health_check(channel, &request, &response, NULL, &status);
  puts(returns() && google__rpc__status__get_packed_size(&own) == 0 ? auditstore_code_name(code) : "wrong");
  auditstore_status_deinit(&status);
  auditstore_channel_free(channel);
  return 0;
}
"""


def run(*args, **more):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=300, **more)
    if done.returncode != 0:
        raise AssertionError(f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class PackagingTest(unittest.TestCase):
    """One build without sanitizers, as a distribution would make it, installed and then moved."""

    @classmethod
    def setUpClass(cls):
        temporary = harness.TemporaryFolder()
        cls.addClassCleanup(temporary.remove)
        cls.folder = temporary.path
        cls.build = build = cls.folder / "build"
        run("cmake", "-S", harness.ROOT, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
            "-DAUDITSTORE_BUILD_DAEMON=OFF", "-DBUILD_TESTING=OFF")
        run("cmake", "--build", build)
        for component in ("client", "dev"):
            run("cmake", "--install", build, "--prefix", cls.folder / "first", "--component",
                component)
        cls.prefix = cls.folder / "moved"
        (cls.folder / "first").rename(cls.prefix)
        cls.library = next(cls.prefix.rglob("libauditstore.so")).parent
        cls.source = cls.folder / "consumer"
        cls.source.mkdir()
        (cls.source / "consumer.c").write_text(CONSUMER, encoding="ascii")
        (cls.source / "five_lines.c").write_text(FIVE_LINES, encoding="ascii")
        (cls.source / "CMakeLists.txt").write_text(CMAKE, encoding="ascii")

    def run_consumer(self, program):
        return run(program, env={**os.environ, "LD_LIBRARY_PATH": str(self.library)})

    def check(self, folder, kind):
        """Both programs, made in `folder`, that are linked as `kind` says."""
        self.assertEqual(self.run_consumer(folder / f"consumer_{kind}"), "UNAVAILABLE\n")
        self.assertEqual(self.run_consumer(folder / f"five_lines_{kind}"), "")
        for name in ("consumer", "five_lines"):
            needed = run("readelf", "-d", folder / f"{name}_{kind}")
            self.assertEqual("libauditstore" in needed, kind == "shared")

    def test_find_package_gives_the_shared_and_the_static_library(self):
        build = self.folder / "by_cmake"
        run("cmake", "-S", self.source, "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", build)
        self.check(build, "shared")
        self.check(build, "static")

    def flags(self, *options):
        env = {**os.environ, "PKG_CONFIG_PATH": str(self.library / "pkgconfig")}
        return run("pkg-config", *options, "auditstore", env=env).split()

    def test_pkg_config_gives_the_shared_and_the_static_library(self):
        build = self.folder / "by_pkg_config"
        build.mkdir()
        static = ["-l:libauditstore.a" if flag == "-lauditstore" else flag
                  for flag in self.flags("--static", "--cflags", "--libs")]
        for name in ("consumer", "five_lines"):
            source = self.source / f"{name}.c"
            run("cc", source, "-o", build / f"{name}_shared", *self.flags("--cflags", "--libs"))
            run("cc", source, "-o", build / f"{name}_static", *static)
        self.check(build, "shared")
        self.check(build, "static")

    def test_the_generator_makes_stubs_for_a_service_of_ones_own(self):
        folder = self.folder / "own"
        folder.mkdir()
        (folder / "door.proto").write_text(OWN_PROTO, encoding="ascii")
        (folder / "main.c").write_text(OWN_PROGRAM, encoding="ascii")
        plugin = self.prefix / "bin" / "protoc-gen-auditstore-c"
        run("protoc", f"-I{folder}", f"--c_out={folder}", f"--auditstore-c_out={folder}",
            "--auditstore-c_opt=client", f"--plugin=protoc-gen-auditstore-c={plugin}", "door.proto")
        run("cc", f"-I{folder}", *folder.glob("*.c"), "-o", folder / "own",
            *self.flags("--cflags", "--libs"))
        self.run_consumer(folder / "own")

    def test_a_program_may_have_stubs_of_its_own_for_what_the_library_has(self):
        folder = self.folder / "stubs"
        folder.mkdir()
        (folder / "main.c").write_text(OWN_STUBS_PROGRAM, encoding="ascii")
        plugin = self.prefix / "bin" / "protoc-gen-auditstore-c"
        protos = self.prefix / "share/auditstore/proto"
        run("protoc", f"-I{protos}", "-I/usr/include", f"--c_out={folder}", *OWN_STUBS)
        run("protoc", f"-I{protos}", f"--auditstore-c_out={folder}", "--auditstore-c_opt=client",
            f"--plugin=protoc-gen-auditstore-c={plugin}", "grpc/health/v1/health.proto")
        sources = sorted(folder.rglob("*.c"))
        self.assertEqual(len(sources), len(OWN_STUBS) + 2)
        static = ["-l:libauditstore.a" if flag == "-lauditstore" else flag
                  for flag in self.flags("--static", "--cflags", "--libs")]
        run("cc", f"-I{folder}", *sources, "-o", folder / "static", *static)
        run("cc", f"-I{folder}", *sources, "-o", folder / "shared", *self.flags("--cflags", "--libs"))
        for program in ("static", "shared"):
            self.assertEqual(self.run_consumer(folder / program), "UNAVAILABLE\n")

    def test_each_public_header_is_installed_and_compiles_alone(self):
        run("cmake", "--build", self.build, "--target", "all_verify_interface_header_sets")
        headers = {path.name for path in (self.prefix / "include/auditstore").glob("*.h")}
        self.assertEqual(headers, {path.name for path in
                                   (harness.ROOT / "include/auditstore").glob("*.h")})
        checked = {path.stem for path in self.build.rglob("*_verify_interface_header_sets/**/*.c")}
        self.assertEqual(headers, checked)

    def test_the_static_library_defines_its_own_names_only(self):
        names = {line.split()[-1] for line in
                 run("nm", "-g", "--defined-only", self.library / "libauditstore.a").splitlines()
                 if len(line.split()) == 3}
        self.assertEqual({n for n in names if not n.startswith(OWN)}, set())
        self.assertIn("auditstore_call_unary", names)

    def test_the_library_can_neither_end_nor_speak_for_the_program(self):
        objects = sorted(self.build.rglob("client_objects.dir/**/*.o"))
        self.assertGreater(len(objects), 10)
        used = {line.split()[-1].split("@")[0] for line in run("nm", "-u", *objects).splitlines()
                if line.startswith(" ")}
        self.assertEqual(used & ENDING, set())

    def test_the_shared_library_has_a_soname_and_exports_its_own_names_only(self):
        library = self.library / "libauditstore.so"
        self.assertIn("libauditstore.so.0.1]", run("readelf", "-d", library))
        names = {line.split()[-1].split("@@AUDITSTORE_0.1")[0]
                 for line in run("nm", "-D", "--defined-only", library).splitlines()}
        # The version itself is a name.
        self.assertEqual({n for n in names if "@" in n or not n.startswith(OWN)},
                         {"AUDITSTORE_0.1"})
        self.assertIn("auditstore_v1_audit_store_write_events_method", names)

    def test_the_daemon_has_a_component_of_its_own(self):
        prefix = self.folder / "daemon"
        run("cmake", "--install", harness.BUILD, "--prefix", prefix, "--component", "service")
        self.assertIn("0.1.0", run(prefix / "bin" / "auditstored", "--version"))
        share = prefix / "share" / "auditstore"
        run(prefix / "bin" / "auditstored", "--check-config", "--config",
            share / "config" / "auditstore.yaml")
        self.assertTrue((share / "prometheus" / "auditstore.rules.yml").exists())
        for page in ("man8/auditstored.8", "man5/auditstored.yaml.5"):
            self.assertTrue((prefix / "share/man" / page).read_text().startswith(".TH AUDITSTORED"))
        self.assertEqual(list(prefix.rglob("*.h")) + list(prefix.rglob("libauditstore*")), [])

    def test_the_tool_and_the_protos_are_installed(self):
        self.assertIn("0.1.0", run(self.prefix / "bin" / "auditstore", "--version"))
        self.assertTrue((self.prefix / "share/auditstore/proto/auditstore/v1/event.proto").exists())

    def test_the_tools_manual_and_completion_are_where_others_look_for_them(self):
        share = self.prefix / "share"
        for path, begins in (("man/man1/auditstore.1", ".TH AUDITSTORE 1 "),
                             ("bash-completion/completions/auditstore", "# Completion"),
                             ("zsh/site-functions/_auditstore", "#compdef auditstore\n"),
                             ("fish/vendor_completions.d/auditstore.fish", "# Completion")):
            self.assertTrue((share / path).read_text().startswith(begins), path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
