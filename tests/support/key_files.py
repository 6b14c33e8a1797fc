"""Certificates and keys that don't go together, or aren't in the form that is wanted."""

import re

from support.certificates import Authority, openssl


class KeyFiles:
    """bad: {name: (certificate file, key file, what is said of them)}; made in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority(folder, "pairs")
        self.ec = self.authority.issue("ec")
        self.rsa = self._rsa_pair()
        self.bad = dict(self._pairs())

    def _rsa_pair(self):
        cert, key = self.folder / "rsa.pem", self.folder / "rsa-key.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", key, "-out", cert, "-days",
                "3", "-subj", "/CN=rsa", "-addext", "subjectAltName=IP:127.0.0.1")
        key.chmod(0o600)
        return cert, key

    def put(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def _pairs(self):
        cert, key = self.ec
        other_key = self.authority.issue("other")[1]
        rsa_cert, rsa_key = self.rsa
        yield "kinds", (rsa_cert, key, rf'certificate "{rsa_cert}" is for RSA.* key "{key}" is EC')
        yield "kinds the other way", (cert, rsa_key, 'is for EC.* is RSA')
        yield "same kind", (cert, other_key, rf'certificate "{cert}" isn\'t for the key "{other_key}"')
        chain = self.put("chain.pem", self.authority.cert.read_bytes() + cert.read_bytes())
        yield "authority first", (chain, key, "as number 2, and its first is an authority's: put that one first")
        for name, source, args in (("der", cert, ("x509", "-outform", "DER")),
                                   ("der-key", key, ("pkey", "-outform", "DER"))):
            path = self.put(name, b"")
            openssl(*args, "-in", source, "-out", path)
        der, der_key = self.folder / "der", self.folder / "der-key"
        yield "DER", (der, key, rf'certificate "{der}" is DER, not PEM')
        yield "DER key", (cert, der_key, rf'key "{der_key}" is DER, not PEM')
        p12 = self.put("p12", b"")
        openssl("pkcs12", "-export", "-in", cert, "-inkey", key, "-out", p12, "-passout", "pass:")
        yield "PKCS#12", (p12, key, rf'certificate "{p12}" is PKCS#12')
        locked = self.put("locked", b"")
        openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
        yield "passphrase", (cert, locked, rf'key "{locked}" needs a passphrase')
        empty = self.put("empty", b"")
        yield "empty certificate", (empty, key, rf'certificate "{empty}" is empty')
        yield "empty key", (cert, empty, rf'key "{empty}" is empty')
        yield "text", (cert, self.put("text", b"no key"), "isn't PEM")
        yield "swapped", (key, self.put("certificate", cert.read_bytes()), "holds no certificate")
        torn = self.put("torn", cert.read_bytes() + self.authority.cert.read_bytes()[:200])
        yield "torn chain", (torn, key, "certificate that can't be read, number 2")
        yield "missing", (cert, self.folder / "nowhere", "nowhere.*No such file")

    def check(self, case):
        """Asserts in `case`, a TestCase, what `say(certificate file, key file)` returns for each."""
        for name, (cert, key, said) in self.bad.items():
            with case.subTest(name):
                case.assertRegex(case.say(cert, key), re.compile(said))
