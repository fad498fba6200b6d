"""Whatever takes a device's ground away ends its connection within a second, on every protocol, and what waits for it stays there.

Each cause times each protocol: a device comes in, works, takes a command; its ground is taken away; from then on a command that is sent
to it is not delivered, its connection ends, it cannot come back, and the operator can read why.
"""

import datetime
import itertools
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import tokens
from certificates import ECDSA, Pair, Workshop, openssl
from device_lines import LINES, Login
from proton_device import Refused
from subject import HOST, Hub

# From the moment at which the change was acknowledged.
SECS_MAX = 1.0

# How often responders are asked about open connections here, and the period in which the server looks for what is due.
OCSP_REFRESH_SECS = 10
OCSP_PERIOD_SECS = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One of its own, on free ports: the cases change its policies and its authorities."""
    with Hub(tmp_path_factory.mktemp("revocation") / "data") as running:
        yield running
        assert running.is_running(), f"the server died during the run:\n{running.log_tail()}"


_numbers = itertools.count(1)


@dataclass
class Case:
    """One device of one server, and what it stands on."""

    hub: Hub
    folder: Path
    name: str
    login: Login | None = None
    ended: list[Callable[[], object]] = field(default_factory=list)
    workshop: Workshop | None = None
    responder: subprocess.Popen | None = None
    secs_max: float = SECS_MAX

    def put(self, body: dict, method: str = "PUT") -> None:
        policy = self.hub.policy
        answer = requests.request(
            method,
            f"https://{HOST}:{self.hub.port('https')}/devices/{self.name}?api-version=2021-04-12",
            json={"deviceId": self.name} | body if method == "PUT" else None,
            headers={"Authorization": tokens.signature_token(HOST, policy.key, policy=policy.name), "If-Match": "*"},
            verify=self.hub.ca_file,
            timeout=10,
        )
        assert answer.status_code in (200, 204), answer.text

    def create(self, authentication: dict) -> None:
        policy = self.hub.policy
        answer = requests.put(
            f"https://{HOST}:{self.hub.port('https')}/devices/{self.name}?api-version=2021-04-12",
            json={"deviceId": self.name, "authentication": authentication},
            headers={"Authorization": tokens.signature_token(HOST, policy.key, policy=policy.name)},
            verify=self.hub.ca_file,
            timeout=10,
        )
        assert answer.status_code == 200, answer.text

    # What a device stands on.

    def with_key(self) -> None:
        key = tokens.new_key()
        self.create(keys(key))
        self.login = Login(self.hub, self.name, token=tokens.device_token(HOST, self.name, key))

    def with_policy(self) -> None:
        self.create(keys(tokens.new_key()))
        self.hub.run(["policy", "create", self.name, "--rights", "device-connect"])
        self.ended.append(lambda: self.hub.command("policy", "delete", self.name))
        text = self.hub.run(["policy", "connection-string", self.name])
        parts = dict(part.split("=", 1) for part in text.strip().split(";"))
        token = tokens.signature_token(HOST, parts["SharedAccessKey"], policy=self.name)
        self.login = Login(self.hub, self.name, token=token)

    def with_thumbprint(self) -> None:
        self.workshop = Workshop(self.folder)
        pair = self.workshop.self_signed(self.name, ECDSA)
        self.create(thumbprint(pair))
        self.login = Login(self.hub, self.name, pair=pair)

    def with_authority(self) -> None:
        """A chain of three; the root is with the hub."""
        self.workshop = Workshop(self.folder)
        root = self.workshop.root
        self.hub.run(["ca", "add", str(root.certificate), "--name", self.name, "--key", str(root.key)])
        self.ended.append(lambda: self.hub.command("ca", "delete", self.name))
        self.create({"type": "certificateAuthority"})
        self.login = Login(self.hub, self.name, pair=self.workshop.chain_of_three(self.name))

    def with_responder(self) -> None:
        self.with_authority()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.respond(is_revoked=False)
        self.ended.append(lambda: self.responder and end(self.responder))
        arguments = ["--issuer", str(self.workshop.intermediate.certificate), "--url", f"http://127.0.0.1:{self.port}/"]
        self.hub.run(["ocsp", "add", self.name, *arguments, "--required", "--refresh", str(OCSP_REFRESH_SECS)])
        self.ended.append(lambda: self.hub.command("ocsp", "remove", self.name))
        self.secs_max = OCSP_REFRESH_SECS + OCSP_PERIOD_SECS + SECS_MAX

    # What takes it away.

    def disable(self) -> None:
        self.hub.run(["device", "disable", self.name])

    def delete(self) -> None:
        self.hub.run(["device", "delete", self.name])

    def rekey(self) -> None:
        self.put({"authentication": keys(tokens.new_key())})

    def rotate_policy(self) -> None:
        self.hub.run(["policy", "rotate", self.name, "--key", "primary"])

    def delete_policy(self) -> None:
        self.hub.run(["policy", "delete", self.name])

    def change_thumbprint(self) -> None:
        self.put({"authentication": thumbprint(self.workshop.self_signed(self.name, ECDSA))})

    def change_authentication(self) -> None:
        self.put({"authentication": keys(tokens.new_key())})

    def block_certificate(self) -> None:
        self.hub.run(["revoke", "certificate", str(self.login.pair.certificate)])
        self.ended.append(self.lift_blocks)

    def block_serial(self) -> None:
        issuer = str(self.workshop.intermediate.certificate)
        self.hub.run(["revoke", "certificate", "--serial", f"{self.serial:x}", "--issuer", issuer])
        self.ended.append(self.lift_blocks)

    def block_intermediate(self) -> None:
        self.hub.run(["revoke", "ca", str(self.workshop.intermediate.certificate)])
        self.ended.append(self.lift_blocks)

    def block_root(self) -> None:
        self.hub.run(["revoke", "ca", str(self.workshop.root.certificate)])
        self.ended.append(self.lift_blocks)

    def lift_blocks(self) -> None:
        """The authorities of all cases have the same names and give the same serial numbers."""
        for block in json.loads(self.hub.run(["revoke", "list", "--output", "json"]))["blocks"]:
            self.hub.run(["revoke", "remove", block["id"]])

    def list_certificate(self) -> None:
        issuer = self.workshop.intermediate
        self.hub.run(["crl", "add", self.name, "--issuer", str(issuer.certificate), "--file", str(self.crl(issuer))])
        self.ended.append(lambda: self.hub.command("crl", "remove", self.name))

    def delete_authority(self) -> None:
        self.hub.run(["ca", "delete", self.name])

    def revoke_at_responder(self) -> None:
        self.respond(is_revoked=True)

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificates(self.login.pair.certificate.read_bytes())[0].serial_number

    def crl(self, issuer: Pair) -> Path:
        """A list of the issuer's with the certificate of the device on it."""
        certificate = x509.load_pem_x509_certificate(issuer.certificate.read_bytes())
        key = serialization.load_pem_private_key(issuer.key.read_bytes(), None)
        now = datetime.datetime.now(datetime.UTC)
        entry = x509.RevokedCertificateBuilder().serial_number(self.serial).revocation_date(now).build()
        builder = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject).add_revoked_certificate(entry)
        builder = builder.last_update(now).next_update(now + datetime.timedelta(days=1)).add_extension(x509.CRLNumber(1), False)
        path = self.folder / "list.pem"
        path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def respond(self, *, is_revoked: bool) -> None:
        """`openssl ocsp` over a database of one certificate; started anew, as it reads the database once."""
        if self.responder:
            end(self.responder)
        state = "R\t351231235959Z\t260101000000Z,keyCompromise" if is_revoked else "V\t351231235959Z\t"
        digits = f"{self.serial:X}"
        database = self.folder / "index.txt"
        database.write_text(f"{state}\t{digits.zfill(len(digits) + len(digits) % 2)}\tunknown\t/CN={self.name}\n")
        issuer = self.workshop.intermediate
        self.responder = subprocess.Popen(
            ["openssl", "ocsp", "-port", str(self.port), "-index", database, "-CA", issuer.certificate]
            + ["-rsigner", issuer.certificate, "-rkey", issuer.key],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert "ACCEPT" in self.responder.stdout.readline()


def keys(key: str) -> dict:
    return {"type": "sas", "symmetricKey": {"primaryKey": key, "secondaryKey": tokens.new_key()}}


def thumbprint(pair: Pair) -> dict:
    return {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": pair.thumbprint("sha256")}}


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait(timeout=10)


@dataclass(frozen=True)
class Cause:
    """A ground, how it is taken away, and the word in the record by which an operator finds out."""

    name: str
    ground: Callable[[Case], None]
    taken_away: Callable[[Case], None]
    record: str

    # The device is there no more, so nothing can be sent to it.
    is_gone: bool = False


CAUSES = [
    Cause("disabled", Case.with_key, Case.disable, "identity_disabled"),
    Cause("deleted", Case.with_key, Case.delete, "identity_unknown", is_gone=True),
    Cause("rekeyed", Case.with_key, Case.rekey, "key_replaced|signature"),
    Cause("policy_rotated", Case.with_policy, Case.rotate_policy, "key_replaced|signature"),
    Cause("policy_deleted", Case.with_policy, Case.delete_policy, "policy"),
    Cause("thumbprint_changed", Case.with_thumbprint, Case.change_thumbprint, "thumbprint_mismatch"),
    Cause("thumbprint_blocked", Case.with_thumbprint, Case.block_certificate, "certificate_revoked"),
    Cause("authentication_changed", Case.with_authority, Case.change_authentication, "token_expected"),
    Cause("certificate_blocked", Case.with_authority, Case.block_certificate, "certificate_revoked"),
    Cause("serial_blocked", Case.with_authority, Case.block_serial, "certificate_revoked"),
    Cause("intermediate_blocked", Case.with_authority, Case.block_intermediate, "certificate_revoked"),
    Cause("root_blocked", Case.with_authority, Case.block_root, "certificate_revoked"),
    Cause("listed", Case.with_authority, Case.list_certificate, "certificate_revoked"),
    Cause("authority_deleted", Case.with_authority, Case.delete_authority, "authority_withdrawn|issuer_unknown"),
    Cause("ocsp", Case.with_responder, Case.revoke_at_responder, "certificate_revoked"),
]


@pytest.mark.parametrize("protocol", LINES)
@pytest.mark.parametrize("cause", CAUSES, ids=[cause.name for cause in CAUSES])
def test_connections_end_with_their_ground(server: Hub, tmp_path: Path, cause: Cause, protocol: str) -> None:
    case = Case(server, tmp_path, f"{cause.name}-{protocol}-{next(_numbers)}")
    line = None
    try:
        cause.ground(case)
        line = LINES[protocol](case.login)
        line.works()
        server.run(["command", "send", case.name, "before"])
        assert line.takes_command() == b"before"
        known = server.known_records()

        cause.taken_away(case)
        deadline = time.monotonic() + case.secs_max
        if case.responder and protocol == "https":
            # Its answer is good until it is asked for again.
            time.sleep(case.secs_max)
        sent = server.command("command", "send", case.name, "after")
        delivered = line.ended_by(deadline)
        if not case.responder:
            assert (sent.returncode == 0) is not cause.is_gone, sent.stderr
            assert delivered == [], "what was sent after the change was delivered"

        kind = "refused" if protocol == "https" else "closed"
        server.await_record(kind, cause.record, case.name, known)
        with pytest.raises((AssertionError, Refused)):
            LINES[protocol](case.login)
        if not cause.is_gone and not case.responder:
            explained = json.loads(server.run(["explain", "device", case.name, "--output", "json"]))
            assert explained["commandsWaiting"] == 1, "what was sent after the change waits"
    finally:
        if line:
            line.close()
        for undo in reversed(case.ended):
            undo()


@pytest.mark.parametrize("protocol", LINES)
def test_without_an_answer_a_device_is_recorded_or_refused(server: Hub, tmp_path: Path, protocol: str) -> None:
    """The responder is down: where it is preferred, devices come in and leave a record; once it is required, they go and may try again."""
    case = Case(server, tmp_path, f"no-answer-{protocol}-{next(_numbers)}")
    line = None
    try:
        case.with_authority()
        # Nobody listens there.
        arguments = ["--issuer", str(case.workshop.intermediate.certificate), "--url", "http://127.0.0.1:1/"]
        server.run(["ocsp", "add", case.name, *arguments])
        case.ended.append(lambda: server.command("ocsp", "remove", case.name))
        line = LINES[protocol](case.login)
        line.works()
        record = server.await_record("connected", "certificate_status_unknown", case.name)
        assert case.name in record["found"] and "cannot be read" in record["found"]

        known = server.known_records()
        server.run(["ocsp", "add", case.name, *arguments, "--required"])
        line.ended_by(time.monotonic() + OCSP_PERIOD_SECS + SECS_MAX)
        kind = "refused" if protocol == "https" else "closed"
        server.await_record(kind, "certificate_status_unknown.*cannot be read", case.name, known)
        with pytest.raises((AssertionError, Refused), match="code 3" if protocol.startswith("mqtt") else None):
            LINES[protocol](case.login)
    finally:
        if line:
            line.close()
        for undo in reversed(case.ended):
            undo()
