"""CA certificates and settings through `azure-mgmt-iothub`, and both beside the command line (service-rest.md 16.1, 16.3)."""

import base64
import datetime
import re
import subprocess
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.iothub import IotHubClient
from azure.mgmt.iothub.models import (
    CertificateDescription,
    CertificateProperties,
    CertificateVerificationDescription,
    IpFilterRule,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import tokens
from management import GROUP, PolicyCredential, management_client
from subject import Hub


class Authority:
    """A CA of the test's own, made by another implementation than the server's."""

    def __init__(self, name: str, days: int = 30):
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.name, self.key, True, days)

    def _sign(self, subject: x509.Name, key, is_ca: bool, days: int = 30) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=60))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        return builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True).sign(self.key, hashes.SHA256())

    def proof(self, code: str) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, code)])
        return pem_base64(self._sign(subject, ec.generate_private_key(ec.SECP256R1()), False))


def pem_base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.PEM)).decode()


def der_base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()


@pytest.fixture
def hub(own_hub) -> Hub:
    return own_hub()


@pytest.fixture
def client(hub: Hub) -> IotHubClient:
    return management_client(hub)


def refused(status: int, telling: str = ""):
    return pytest.raises(
        HttpResponseError, check=lambda error: error.status_code == status and re.search(telling, str(error)) is not None
    )


def upload(client: IotHubClient, hub: Hub, name: str, certificate: str, is_verified: bool = False, **options):
    body = CertificateDescription(properties=CertificateProperties(certificate=certificate, is_verified=is_verified))
    return client.certificates.create_or_update(GROUP, hub.name, name, body, **options)


def test_upload_prove_and_delete(hub, client):
    authority = Authority("Conformance root")
    made = upload(client, hub, "root", der_base64(authority.certificate))
    assert made.id.endswith(f"/IotHubs/{hub.name}/certificates/root")
    assert (made.name, made.type) == ("root", "Microsoft.Devices/IotHubs/Certificates")
    shown = made.properties
    assert shown.is_verified is False and "Conformance root" in shown.subject
    assert shown.thumbprint == authority.certificate.fingerprint(hashes.SHA1()).hex().upper()
    assert abs(shown.expiry - authority.certificate.not_valid_after_utc) < datetime.timedelta(seconds=1)
    assert base64.b64decode(shown.certificate) == authority.certificate.public_bytes(serialization.Encoding.DER)

    drawn = client.certificates.generate_verification_code(GROUP, hub.name, "root", if_match=made.etag)
    code = drawn.properties.verification_code
    assert re.fullmatch("[0-9A-F]{48}", code) and drawn.etag != made.etag
    body = CertificateVerificationDescription(certificate=authority.proof(code))
    proved = client.certificates.verify(GROUP, hub.name, "root", if_match=drawn.etag, certificate_verification_body=body)
    assert proved.properties.is_verified is True

    listed = client.certificates.list_by_iot_hub(GROUP, hub.name).value
    assert [one.name for one in listed] == ["root"]
    assert client.certificates.get(GROUP, hub.name, "root").etag == proved.etag
    client.certificates.delete(GROUP, hub.name, "root", if_match=proved.etag)
    with refused(404):
        client.certificates.get(GROUP, hub.name, "root")


def test_proofs_that_prove_nothing(hub, client):
    authority, other = Authority("Conformance root"), Authority("Other root")
    made = upload(client, hub, "root", pem_base64(authority.certificate))
    drawn = client.certificates.generate_verification_code(GROUP, hub.name, "root", if_match=made.etag)
    code = drawn.properties.verification_code
    for certificate in (other.proof(code), authority.proof("0" * 48)):
        body = CertificateVerificationDescription(certificate=certificate)
        with refused(400, "IH400053"):
            client.certificates.verify(GROUP, hub.name, "root", if_match=drawn.etag, certificate_verification_body=body)
    assert client.certificates.get(GROUP, hub.name, "root").properties.is_verified is False
    body = CertificateVerificationDescription(certificate=authority.proof(code))
    with refused(412):
        client.certificates.verify(GROUP, hub.name, "root", if_match=made.etag, certificate_verification_body=body)


def test_uploads_that_cannot_be(hub, client):
    authority = Authority("Conformance root")
    leaf = authority._sign(authority.name, authority.key, False)
    for certificate in ("bm90IGEgY2VydGlmaWNhdGU=", pem_base64(leaf), pem_base64(Authority("Old", days=-1).certificate)):
        with refused(400):
            upload(client, hub, "bad", certificate)
    made = upload(client, hub, "root", pem_base64(authority.certificate), is_verified=True)
    assert made.properties.is_verified is True
    with refused(412):
        upload(client, hub, "root", pem_base64(authority.certificate))
    other = Authority("Successor")
    assert upload(client, hub, "root", pem_base64(other.certificate), if_match=made.etag).properties.is_verified is False
    key = client.iot_hub_resource.get_keys_for_key_name(GROUP, hub.name, "registryReadWrite").primary_key
    weak = management_client(hub, PolicyCredential("registryReadWrite", key))
    with refused(401):
        weak.certificates.list_by_iot_hub(GROUP, hub.name)


def change(client: IotHubClient, hub: Hub, **properties):
    found = client.iot_hub_resource.get(GROUP, hub.name)
    for name, value in properties.items():
        setattr(found.properties, name, value)
    return client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, found, if_match=found.etag).result()


def test_settings_of_the_hub(hub, client):
    before = client.iot_hub_resource.get(GROUP, hub.name).properties
    assert (before.disable_local_auth, before.disable_device_sas, before.min_tls_version) == (False, False, "1.2")
    assert before.ip_filter_rules == []
    rules = [IpFilterRule(filter_name="office", action="Reject", ip_mask="192.0.2.0/24")]
    changed = change(client, hub, disable_device_sas=True, ip_filter_rules=rules).properties
    assert (changed.disable_device_sas, changed.disable_module_sas) == (True, False)
    assert [(rule.filter_name, rule.action, rule.ip_mask) for rule in changed.ip_filter_rules] == [
        ("office", "Reject", "192.0.2.0/24")
    ]
    # What is not touched stays, and the command line sees the same.
    again = change(client, hub, comments="x").properties
    assert again.disable_device_sas is True and len(again.ip_filter_rules) == 1
    with refused(409):
        change(client, hub, ip_filter_rules=[IpFilterRule(filter_name="all", action="Reject", ip_mask="0.0.0.0/0")])
    with refused(400):
        change(client, hub, min_tls_version="9")
    assert len(client.iot_hub_resource.get(GROUP, hub.name).properties.ip_filter_rules) == 1


def cli(hub: Hub, *arguments: str) -> subprocess.CompletedProcess:
    answer = hub.command(*arguments)
    assert answer.returncode == 0, f"{arguments}: {answer.stderr}"
    return answer


def test_three_commands_make_a_trusted_device(hub, client, tmp_path: Path):
    ca, devices = tmp_path / "ca", tmp_path / "devices"
    cli(hub, "cert", "ca", "new", "--out", str(ca), "--intermediate")
    cli(hub, "ca", "add", str(ca / "root.pem"), "--key", str(ca / "root.key"))
    cli(hub, "cert", "issue", "--ca", str(ca), "--device", "d1", "--register", "--out", str(devices))
    assert client.certificates.get(GROUP, hub.name, "root").properties.is_verified is True
    for key in (ca / "root.key", ca / "intermediate.key", devices / "d1.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    chain = [str(devices / "d1.pem"), str(ca / "intermediate.pem"), str(ca / "root.pem")]
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", chain[2], "-untrusted", chain[1], chain[0]], capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stderr
    assert (devices / "d1.chain.pem").read_text().count("BEGIN CERTIFICATE") == 2
    assert "certificateAuthority" in cli(hub, "device", "show", "d1").stdout


def test_policies_by_command(hub):
    created = cli(hub, "policy", "create", "reader", "--rights", "registry-read")
    key = re.search("SharedAccessKey=(.*)", created.stdout).group(1)
    assert "SharedAccessKeyName=reader" in created.stdout
    listed, shown = cli(hub, "policy", "list"), cli(hub, "policy", "show", "reader")
    assert "reader" in listed.stdout and "RegistryRead" in shown.stdout
    assert key not in listed.stdout + shown.stdout
    assert hub.command("policy", "create", "reader", "--rights", "registry-read").returncode == 1
    rotated = cli(hub, "policy", "rotate", "reader", "--key", "primary")
    assert key not in rotated.stdout
    assert cli(hub, "policy", "connection-string", "reader").stdout == rotated.stdout
    cli(hub, "policy", "delete", "reader")
    assert hub.command("policy", "show", "reader").returncode == 5
    last = hub.command("policy", "delete", "iothubowner")
    assert last.returncode == 1 and "all rights" in last.stderr
