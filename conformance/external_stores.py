"""Stores of files that others run, on loopback: Azurite speaks the protocol of Azure Blob Storage, moto that of S3.

Both run over TLS with a certificate that is made here, because device clients are given `https` addresses and no others. They are
installed by `run`, apart from the clients under test.
"""

import datetime
import ipaddress
import socket
import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

STORES = Path(__file__).parent / "stores"
START_TIMEOUT_SECS = 60
STOP_TIMEOUT_SECS = 20

# The one account of Azurite, published by Microsoft.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Certificates:
    """An authority, and the certificate of the stores."""

    def __init__(self, folder: Path):
        self.ca_file, self.certificate, self.key = (str(folder / name) for name in ("ca.pem", "store.pem", "store.key"))
        now = datetime.datetime.now(datetime.timezone.utc)
        authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

        def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
            begun = x509.CertificateBuilder().subject_name(name_of(subject)).issuer_name(name_of("stores"))
            begun = begun.public_key(key.public_key()).serial_number(x509.random_serial_number())
            day = datetime.timedelta(days=1)
            return begun.not_valid_before(now - day).not_valid_after(now + day)

        ca = builder("stores", authority).add_extension(x509.BasicConstraints(True, None), True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        ca = ca.add_extension(usage, True).sign(authority, hashes.SHA256())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = builder("store", server).add_extension(names, False).sign(authority, hashes.SHA256())
        pem = serialization.Encoding.PEM
        Path(self.ca_file).write_bytes(ca.public_bytes(pem))
        Path(self.certificate).write_bytes(leaf.public_bytes(pem))
        plain = serialization.NoEncryption()
        Path(self.key).write_bytes(server.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


class Store:
    """A running store; a context manager. It can be stopped and started again with what it keeps."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self.certificates = Certificates(folder)
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> "Store":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_SECS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                log_tail = (self.folder / "log").read_text()[-2000:]
                assert self.process.poll() is None, f"the store ended:\n{log_tail}"
                assert time.monotonic() < deadline, f"the store does not start:\n{log_tail}"
                time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            # With time to write down what it keeps.
            self.process.terminate()
            self.process.wait(timeout=STOP_TIMEOUT_SECS)
            self.process = None


class Azurite(Store):
    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}/{AZURITE_ACCOUNT}"

    def arguments(self) -> list[str]:
        return [
            "node", str(STORES / "node_modules/azurite/dist/src/blob/main.js"), "--silent", "--disableTelemetry", "--skipApiVersionCheck",
            "--location", str(self.folder / "data"), "--blobPort", str(self.port),
            "--cert", self.certificates.certificate, "--key", self.certificates.key,
        ]  # fmt: skip


class Moto(Store):
    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def arguments(self) -> list[str]:
        return [
            str(STORES / ".venv/bin/moto_server"), "-H", "127.0.0.1", "-p", str(self.port),
            "-c", self.certificates.certificate, "-k", self.certificates.key,
        ]  # fmt: skip


def settings(store: Store, kind: str, account: str, key: str, container: str = "files") -> list[str]:
    """Arguments of the server under test."""
    rows = {
        "kind": kind,
        "endpoint": store.endpoint,
        "container": container,
        "account": account,
        "key": key,
        "authorities": store.certificates.ca_file,
    }
    flags = ["--set", "hubs.hub1.file_notifications=true"]
    for row, value in rows.items():
        flags += ["--set", f"hubs.hub1.storage.{row}={value}"]
    return flags
