"""File upload to a store that others run: the hub signs and looks, the device writes there, and trouble is told plainly."""

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.iot.device import IoTHubDeviceClient
from azure.storage.blob import BlobClient, ContainerClient

import device_sdk
from external_stores import AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Moto, settings
from identities import Device
from service_http import ServiceHttp
from subject import SDK_PORTS, Hub
from test_23_files import TIMEOUT_SECS, ask, assert_error, begin, end, peak_bytes, url_of

# Another loopback address, so that this server can have the ports that the clients have compiled in.
ADDRESS = "127.0.0.3"
LARGE_BYTES = 256 * 1024 * 1024
GROWTH_BYTES_MAX = 16 * 1024 * 1024
AZURITE_KEY_CREDENTIAL = {"account_name": AZURITE_ACCOUNT, "account_key": AZURITE_KEY}
WRONG_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite") / "store") as store:
        container = ContainerClient(
            store.endpoint, "files", AZURITE_KEY_CREDENTIAL, connection_verify=store.certificates.ca_file
        )
        container.create_container()
        yield store


def created(hub: Hub) -> Device:
    name = f"files-{uuid.uuid4().hex[:8]}"
    registered = ServiceHttp(hub).create_device(name)
    return Device(hub, name, registered["authentication"]["symmetricKey"]["primaryKey"], registered["generationId"])


def blob_client(store, upload: dict) -> BlobClient:
    return BlobClient.from_blob_url(url_of(upload), connection_verify=store.certificates.ca_file, retry_total=0)


@pytest.fixture
def azure_hub(own_hub: Callable[..., Hub], azurite: Azurite) -> Hub:
    return own_hub(settings(azurite, "azure", AZURITE_ACCOUNT, AZURITE_KEY))


def test_python_device_uploads_to_azure_storage(own_hub, azurite, monkeypatch):
    listeners = [("mqtt", SDK_PORTS["mqtt"]), ("https", SDK_PORTS["https"])]
    addresses = [flag for kind, port in listeners for flag in ("--set", f"listeners.{kind}={ADDRESS}:{port}")]
    hub = own_hub(addresses + settings(azurite, "azure", AZURITE_ACCOUNT, AZURITE_KEY))
    original = socket.getaddrinfo
    names = (hub.dotted_name,)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **o: original(ADDRESS if host in names else host, *a, **o))
    answer = hub.command("device", "create", "uploader")
    assert answer.returncode == 0, answer.stderr
    key = answer.stdout.strip().rsplit("SharedAccessKey=", 1)[1]
    string = hub.device_connection_string("uploader", key, host=hub.dotted_name)
    client = IoTHubDeviceClient.create_from_connection_string(string, **device_sdk.options(hub.ca_file))
    client.connect()
    try:
        upload = client.get_storage_info_for_blob("reports/my file.txt")
        assert upload["hostName"] == f"127.0.0.1:{azurite.port}"
        assert upload["containerName"] == f"{AZURITE_ACCOUNT}/files"
        with blob_client(azurite, upload) as blob:
            blob.upload_blob(b"hello")
        client.notify_blob_upload_status(upload["correlationId"], True, 200, "OK")
    finally:
        client.shutdown()


def test_a_large_file_passes_the_hub_by(azure_hub, azurite):
    device = created(azure_hub)
    upload = begin(device, "large.bin")
    piece = uuid.uuid4().bytes * (1024 * 64)
    whole = piece * (LARGE_BYTES // len(piece))
    before = peak_bytes(azure_hub)
    with blob_client(azurite, upload) as blob:
        blob.upload_blob(whole, max_concurrency=4)
        assert blob.get_blob_properties().size == LARGE_BYTES
    assert end(device, upload).status_code == 204
    after = peak_bytes(azure_hub)
    mib = 1024 * 1024
    print(f"256 MiB to Azurite: peak of the server {before / mib:.1f} MiB before, {after / mib:.1f} MiB after the first look")
    assert after - before < GROWTH_BYTES_MAX


def test_an_address_opens_its_blob_alone(azure_hub, azurite):
    device = created(azure_hub)
    mine, other = begin(device, "mine"), begin(device, "other")
    with blob_client(azurite, mine) as blob:
        blob.upload_blob(b"hello")
        with pytest.raises(HttpResponseError) as refused:
            blob.delete_blob()
    assert refused.value.status_code == 403
    stolen = BlobClient.from_blob_url(
        url_of(other, token=mine["sasToken"]), connection_verify=azurite.certificates.ca_file, retry_total=0
    )
    with stolen, pytest.raises(HttpResponseError) as refused:
        stolen.upload_blob(b"x")
    assert refused.value.status_code == 403
    answer = requests.get(
        f"https://localhost:{azure_hub.port('https')}/uploads/{device.id}/mine{mine['sasToken']}",
        timeout=TIMEOUT_SECS,
        verify=azure_hub.ca_file,
    )
    assert answer.status_code == 404
    assert_error(ask(device, "files", {"blobName": "a//b"}), 400, "ArgumentInvalid")


def test_a_file_that_is_not_there(azure_hub):
    device = created(azure_hub)
    upload = begin(device, "never written")
    assert_error(end(device, upload), 400, "InvalidStorageEndpointOrBlob")
    assert end(device, upload, success=False).status_code == 204


def test_a_store_that_is_down_keeps_the_slot(own_hub, tmp_path):
    with Azurite(tmp_path / "store") as store:
        client = ContainerClient(
            store.endpoint, "files", AZURITE_KEY_CREDENTIAL, connection_verify=store.certificates.ca_file
        )
        client.create_container()
        hub = own_hub(settings(store, "azure", AZURITE_ACCOUNT, AZURITE_KEY))
        device = created(hub)
        upload = begin(device, "f")
        with blob_client(store, upload) as blob:
            blob.upload_blob(b"x")
        store.stop()
        began = time.monotonic()
        assert_error(end(device, upload), 503, "ServiceUnavailable")
        assert time.monotonic() - began < TIMEOUT_SECS
        record = hub.await_record("refused", "storage_fails", device.id)
        assert "does not answer" in record["text"]
        store.start()
        assert end(device, upload).status_code == 204
        assert_error(end(device, upload), 400, "InvalidFileUploadCorrelationId")


def test_wrong_credentials_are_the_operators(own_hub, azurite):
    hub = own_hub(settings(azurite, "azure", AZURITE_ACCOUNT, WRONG_KEY))
    device = created(hub)
    upload = begin(device, "f")
    with blob_client(azurite, upload) as blob, pytest.raises(HttpResponseError) as denied:
        blob.upload_blob(b"x")
    assert denied.value.status_code == 403
    refused = end(device, upload)
    assert_error(refused, 400, "InvalidStorageEndpointOrBlob")
    assert "credentials" in refused.json()["Message"]
    hub.await_record("refused", "storage_refuses", device.id)
    for secret in (WRONG_KEY, "AAECAwQFBgcI"):
        assert secret not in hub.log_tail(1_000_000) + refused.text


def test_s3_takes_one_put(own_hub, tmp_path):
    """The fields hold a signed PUT: any HTTP client can use it. The client of Azure Storage cannot, because S3 answers 200, not 201."""
    with Moto(tmp_path / "store") as store:
        ca_file = store.certificates.ca_file
        assert requests.put(f"{store.endpoint}/files", timeout=TIMEOUT_SECS, verify=ca_file).status_code == 200
        hub = own_hub(settings(store, "s3", "an-access-key", "a secret of the access key"))
        device = created(hub)
        upload = begin(device, "my file.txt")
        assert (upload["hostName"], upload["containerName"]) == (f"127.0.0.1:{store.port}", "files")
        assert "X-Amz-Signature=" in upload["sasToken"]
        assert_error(end(device, upload), 400, "InvalidStorageEndpointOrBlob")
        written = requests.put(url_of(upload), data=b"hello", timeout=TIMEOUT_SECS, verify=ca_file)
        assert written.status_code == 200
        assert end(device, upload).status_code == 204
        # The server looks no closer at who asks.
        anybody = {"Authorization": "AWS4-HMAC-SHA256 Credential=an-access-key/20260101/us-east-1/s3/aws4_request"}
        address = f"{store.endpoint}/files/{device.id}/my%20file.txt"
        found = requests.get(address, headers=anybody, timeout=TIMEOUT_SECS, verify=ca_file)
        assert (found.status_code, found.content) == (200, b"hello"), found.headers
        upload = begin(device, "late")
        store.stop()
        assert_error(end(device, upload), 503, "ServiceUnavailable")


def test_the_key_is_shown_nowhere(azure_hub):
    files = [path for path in Path(azure_hub.data).rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert AZURITE_KEY.encode() not in path.read_bytes(), path
    assert AZURITE_KEY not in azure_hub.log_tail(1_000_000) + "".join(azure_hub.stdout_lines)
