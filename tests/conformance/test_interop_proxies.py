"""grpc-go's interoperability client through proxies that speak HTTP/2 to our server."""

import contextlib
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import foreign  # noqa: E402
import interop_server  # noqa: E402

from support import harness  # noqa: E402

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} http2;
    client_max_body_size 0;
    location / {{
      grpc_pass {backend};
    }}
  }}
}}
"""


class ProxiesTest(interop_server.InteropCase):
    @classmethod
    def setUpClass(cls):
        cls.client = foreign.grpc_go("client")
        super().setUpClass()

    @contextlib.contextmanager
    def proxy(self, command, port):
        log = self.folder / f"{pathlib.Path(command[0]).name}{port}.log"
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            def is_listening():
                self.assertIsNone(process.poll(), log.read_text(encoding="utf-8"))
                return interop_server.accepts(port)
            harness.wait_until(is_listening, what=f"{command[0]} listens")
            yield port
        finally:
            process.terminate()
            process.wait(harness.STOP_DEADLINE_S)

    def run_cases(self, port):
        for case in interop_server.CASES:
            with self.subTest(case):
                self.run_client(self.client, "--server_host=127.0.0.1", f"--server_port={port}",
                                f"--test_case={case}")
        with self.subTest("rpc_soak"):
            self.run_client(self.client, "--server_host=127.0.0.1", f"--server_port={port}",
                            "--test_case=rpc_soak", "--soak_iterations=100",
                            "--soak_max_failures=0", "--soak_overall_timeout_seconds=60")

    def nginx(self, port, backend):
        config = self.folder / f"nginx{port}.conf"
        config.write_text(NGINX.format(folder=self.folder, port=port, backend=backend),
                          encoding="ascii")
        return self.proxy(["/usr/sbin/nginx", "-c", str(config), "-p", str(self.folder)], port)

    def test_nginx(self):
        port = interop_server.free_port()
        with self.nginx(port, f"grpc://127.0.0.1:{self.plain.port}"):
            self.run_cases(port)

    def test_nginx_to_tls(self):
        port = interop_server.free_port()
        with self.nginx(port, f"grpcs://127.0.0.1:{self.tls.port}"):
            self.run_cases(port)

    def nghttpx(self, port, server, *options):
        return self.proxy(["/usr/sbin/nghttpx", "--workers=1", f"--frontend=127.0.0.1,{port};no-tls",
                           *options, "--conf=/dev/null", "--errorlog-file=/dev/stderr",
                           f"--backend=localhost,{server.port};;proto=h2{';tls' if options else ''}"],
                          port)

    def test_nghttpx(self):
        port = interop_server.free_port()
        with self.nghttpx(port, self.plain):
            self.run_cases(port)

    def test_nghttpx_to_tls(self):
        port = interop_server.free_port()
        with self.nghttpx(port, self.tls, f"--cacert={self.authority.cert}"):
            self.run_cases(port)


if __name__ == "__main__":
    unittest.main(verbosity=2)
