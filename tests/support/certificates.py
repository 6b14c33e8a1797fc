"""Certificates for tests, made by the openssl tool: one authority, and what it signs."""

import subprocess


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Authority:
    """Signs certificates for this machine's loopback; files are made in `folder`."""

    def __init__(self, folder, name="authority"):
        self.folder = folder
        self.key = folder / f"{name}-key.pem"
        self.cert = folder / f"{name}.pem"
        self._make_key(self.key)
        openssl("req", "-x509", "-new", "-key", self.key, "-out", self.cert, "-days", "30",
                "-subj", f"/CN={name}")

    @staticmethod
    def _make_key(path):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        path.chmod(0o600)

    def issue(self, name, days=30, san="DNS:localhost,IP:127.0.0.1", subject=None):
        """(certificate file, key file), with `name` as its CN unless `subject` is another. `san` is
        what openssl takes for subjectAltName; "" for none."""
        key, request, cert = (self.folder / f"{name}{end}" for end in ("-key.pem", ".csr", ".pem"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={san}\n" if san else "basicConstraints=CA:FALSE\n")
        self._make_key(key)
        openssl("req", "-new", "-key", key, "-out", request, "-subj",
                f"/CN={name}" if subject is None else subject)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
                "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", cert)
        return cert, key
