"""Certificates for devices, made by openssl: nothing of the server's own code has a hand in them."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from subject import Hub

DAYS = "30"

EXTENSIONS = """
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash

[device]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
"""

RSA = ("rsa:2048",)
ECDSA = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True)
class Pair:
    """A PEM file with a certificate, leaf first if it is a chain, and the file of its key."""

    certificate: Path
    key: Path

    def thumbprint(self, algorithm: str) -> str:
        """Hex digits of the leaf's digest, as a registry takes them."""
        der = openssl("x509", "-in", self.certificate, "-outform", "DER")
        return hashlib.new(algorithm, der).hexdigest().upper()


class Workshop:
    """A root that the hub trusts after a proof of possession, an intermediate below it, and what they issue."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._extensions = folder / "extensions.cnf"
        self._extensions.write_text(EXTENSIONS)
        self._made = 0
        self.root = self.self_signed("conformance root", RSA, "ca")
        self.intermediate = self.issued("conformance intermediate", self.root, ECDSA, "ca")

    def be_trusted_by(self, hub: Hub) -> None:
        answer = hub.command("ca", "add", str(self.root.certificate), "--name", "conformance", "--key", str(self.root.key))
        assert answer.returncode == 0, answer.stderr

    def self_signed(self, name: str, kind: tuple[str, ...] = ECDSA, extensions: str = "device") -> Pair:
        pair, request = self._request(name, kind)
        self._sign(pair, request, extensions, "-signkey", pair.key)
        return pair

    def issued(self, name: str, issuer: Pair, kind: tuple[str, ...] = ECDSA, extensions: str = "device") -> Pair:
        pair, request = self._request(name, kind)
        self._sign(pair, request, extensions, "-CA", issuer.certificate, "-CAkey", issuer.key, "-set_serial", str(1000 + self._made))
        return pair

    def chain_of_three(self, name: str) -> Pair:
        """The leaf and its issuer, as the device sends them; the root is with the hub."""
        leaf = self.issued(name, self.intermediate, RSA)
        leaf.certificate.write_bytes(leaf.certificate.read_bytes() + self.intermediate.certificate.read_bytes())
        return leaf

    def _request(self, name: str, kind: tuple[str, ...]) -> tuple[Pair, Path]:
        self._made += 1
        path = self._folder / str(self._made)
        pair, request = Pair(path.with_suffix(".pem"), path.with_suffix(".key")), path.with_suffix(".csr")
        # A name that holds a slash is written with an escape.
        subject = "/CN=" + name.replace("/", "\\/")
        openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", subject, "-keyout", pair.key, "-out", request)
        return pair, request

    def _sign(self, pair: Pair, request: Path, extensions: str, *signer: object) -> None:
        what = ("-extfile", self._extensions, "-extensions", extensions)
        openssl("x509", "-req", "-in", request, "-days", DAYS, "-sha256", *what, *signer, "-out", pair.certificate)


def openssl(*arguments: object) -> bytes:
    made = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=30)
    assert made.returncode == 0, made.stderr.decode()
    return made.stdout
