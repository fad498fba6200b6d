"""File upload: the device SDKs ask, `azure-storage-blob` writes, services hear of it; and what must not work, by hand."""

import base64
import hashlib
import socket
import ssl
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.iot.device import IoTHubDeviceClient
from azure.storage.blob import BlobBlock, BlobClient, ContentSettings

import device_sdk
import tokens
from conftest import Device
from service_http import ServiceHttp
from subject import HOST

TIMEOUT_SECS = 10
NOTIFICATIONS_TIMEOUT_MS = 8_000

# Large enough that a server which keeps files in memory is seen; what it may grow by is a small part of it.
LARGE_BYTES = 256 * 1024 * 1024
GROWTH_BYTES_MAX = 32 * 1024 * 1024


def ask(device, path: str, body: dict | None, **options: object) -> requests.Response:
    url = f"https://{HOST}:{device.hub.port('https')}/devices/{device.id}/{path}?api-version=2021-04-12"
    headers = {"Authorization": options.pop("token", None) or device.token()}
    return requests.post(url, headers=headers, json=body, timeout=TIMEOUT_SECS, verify=device.hub.ca_file, **options)


def begin(device, name: str) -> dict:
    answer = ask(device, "files", {"blobName": name})
    assert answer.status_code == 200, answer.text
    return answer.json()


def end(device, upload: dict, success: bool = True) -> requests.Response:
    body = {"correlationId": upload["correlationId"], "isSuccess": success, "statusCode": 200, "statusDescription": "x"}
    return ask(device, "files/notifications", body)


def url_of(upload: dict, blob: str | None = None, token: str | None = None) -> str:
    blob = upload["blobName"] if blob is None else blob
    token = upload["sasToken"] if token is None else token
    return f"https://{upload['hostName']}/{upload['containerName']}/{blob}{token}"


def blob_client(device, upload: dict, **options: object) -> BlobClient:
    return BlobClient.from_blob_url(url_of(upload), connection_verify=device.hub.ca_file, retry_total=0, **options)


def put(device, url: str, body: bytes = b"x", **headers: str) -> requests.Response:
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2020-12-06"} | headers
    return requests.put(url, data=body, headers=headers, timeout=TIMEOUT_SECS, verify=device.hub.ca_file)


def assert_error(answer: requests.Response, status: int, name: str) -> None:
    assert (answer.status_code, answer.headers.get("iothub-errorcode")) == (status, name), answer.text


def assert_fault(answer: requests.Response, status: int, name: str) -> None:
    assert (answer.status_code, answer.headers.get("x-ms-error-code")) == (status, name), answer.text
    assert f"<Code>{name}</Code>" in answer.text


def notifications(hub, node, count: int, timeout_ms: int = NOTIFICATIONS_TIMEOUT_MS) -> list[dict]:
    request = {"connectionString": hub.service_connection_string(), "count": count, "timeoutMs": timeout_ms}
    outcome = node("service_file_notifications.js", request)
    assert outcome["error"] is None
    return outcome["received"]


def notification_of(hub, node, device) -> list[dict]:
    """What is told of one device; what is told of others is read along."""
    return [told for told in notifications(hub, node, 1_000, 3_000) if told["deviceId"] == device.id]


def test_python_device_uploads_a_file(hub, device, node):
    client = IoTHubDeviceClient.create_from_connection_string(device.connection_string, **device_sdk.options(hub.ca_file))
    client.connect()
    try:
        upload = client.get_storage_info_for_blob("reports/my file.txt")
        assert upload["blobName"] == f"{device.id}/reports/my file.txt"
        assert upload["sasToken"].startswith("?sv=")
        with blob_client(device, upload) as blob:
            settings = ContentSettings(content_type="text/plain")
            written = blob.upload_blob(b"hello", content_settings=settings, metadata={"key": "value"})
            assert bytes(written["content_md5"]) == hashlib.md5(b"hello").digest()
            client.notify_blob_upload_status(upload["correlationId"], True, 200, "OK")
            found = blob.get_blob_properties()
            assert (found.size, found.etag, found.metadata) == (5, written["etag"], {"key": "value"})
            assert found.content_settings.content_type == "text/plain"
            assert blob.download_blob().readall() == b"hello"
            assert blob.download_blob(offset=1, length=3).readall() == b"ell"
    finally:
        client.shutdown()
    told = notification_of(hub, node, device)
    assert len(told) == 1
    path = quote(f"{device.id}/reports/my file.txt")
    assert told[0]["blobUri"] == f"https://{upload['hostName']}/uploads/{path}"
    assert told[0]["blobName"] == upload["blobName"]
    assert told[0]["blobSizeInBytes"] == 5
    assert told[0]["lastUpdatedTime"].endswith("+00:00")
    assert told[0]["enqueuedTimeUtc"].endswith("Z")
    assert notification_of(hub, node, device) == [], "completed notifications do not come again"


def test_a_large_file_costs_no_memory(hub, device):
    upload = begin(device, "large.bin")
    piece = uuid.uuid4().bytes * (1024 * 64)
    whole = piece * (LARGE_BYTES // len(piece))
    before = peak_bytes(hub)
    with blob_client(device, upload) as blob:
        began = time.monotonic()
        blob.upload_blob(whole, max_concurrency=4)
        uploaded = time.monotonic()
        read = blob.download_blob(max_concurrency=4).readall()
        downloaded = time.monotonic()
    after = peak_bytes(hub)
    assert hashlib.sha256(read).digest() == hashlib.sha256(whole).digest()
    assert end(device, upload).status_code == 204
    mib = 1024 * 1024
    print(
        f"256 MiB: up in {uploaded - began:.2f} s, down in {downloaded - uploaded:.2f} s; "
        f"peak of the server {before / mib:.1f} MiB before, {after / mib:.1f} MiB after"
    )
    assert after - before < GROWTH_BYTES_MAX


def peak_bytes(hub) -> int:
    for line in Path(f"/proc/{hub.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel tells no peak")


def test_node_device_uploads_files(hub, device, node):
    small, piece = b"hello", uuid.uuid4().bytes * 65_536
    files = [
        {"name": "node.txt", "bodyBase64": base64.b64encode(small).decode()},
        {"name": "folder/large file.bin", "bodyBase64": base64.b64encode(piece).decode(), "times": 24},
    ]
    outcome = node("device_upload.js", {"connectionString": device.connection_string, "files": files})
    assert outcome == {"uploaded": ["node.txt", "folder/large file.bin"], "error": None}
    upload = begin(device, "folder/large file.bin")
    with blob_client(device, upload) as blob:
        assert blob.download_blob().readall() == piece * 24
    told = notification_of(hub, node, device)
    sizes = {t["blobName"]: t["blobSizeInBytes"] for t in told}
    assert sizes == {f"{device.id}/node.txt": 5, f"{device.id}/folder/large file.bin": len(piece) * 24}


def test_a_slash_may_be_encoded(device):
    """One client escapes the whole name, its slash too."""
    upload = begin(device, "my file.txt")
    assert put(device, url_of(upload, quote(upload["blobName"], safe="")), b"one").status_code == 201
    answer = requests.get(url_of(upload, quote(upload["blobName"])), timeout=TIMEOUT_SECS, verify=device.hub.ca_file)
    assert (answer.status_code, answer.content) == (200, b"one")
    assert answer.headers["x-ms-blob-type"] == "BlockBlob"


def test_blocks_in_any_order_and_checksums(device):
    upload = begin(device, "blocks")
    with blob_client(device, upload) as blob:
        for number in (3, 1, 2):
            blob.stage_block(f"{number:04}", str(number).encode(), validate_content=True)
        waiting = blob.get_block_list("all")
        assert [block.size for block in waiting[1]] == [1, 1, 1]
        blob.commit_block_list([BlobBlock(f"{number:04}") for number in (1, 2, 3)], validate_content=True)
        assert blob.download_blob().readall() == b"123"
        with pytest.raises(HttpResponseError) as refused:
            blob.commit_block_list([BlobBlock("0001")])
        assert refused.value.error_code == "InvalidBlockList"
        with pytest.raises(ResourceExistsError):
            blob.upload_blob(b"again")
        blob.upload_blob(b"again", overwrite=True, validate_content=True)
        assert blob.download_blob().readall() == b"again"
    wrong = base64.b64encode(hashlib.md5(b"y").digest()).decode()
    url = url_of(upload)
    assert_fault(put(device, url, **{"Content-MD5": wrong}), 400, "Md5Mismatch")
    assert_fault(put(device, url, **{"x-ms-blob-content-md5": wrong}), 400, "Md5Mismatch")
    assert_fault(put(device, url, **{"x-ms-content-crc64": "AAAAAAAAAAA="}), 400, "Crc64Mismatch")
    assert_fault(put(device, url, **{"x-ms-blob-type": "AppendBlob"}), 400, "InvalidHeaderValue")
    assert_fault(put(device, f"{url}&comp=appendblock"), 400, "InvalidQueryParameterValue")


def test_a_body_may_come_in_chunks(device):
    upload = begin(device, "chunks")

    def pieces():
        yield b"one"
        yield b"two"

    assert put(device, url_of(upload), pieces()).status_code == 201
    answer = requests.get(url_of(upload), timeout=TIMEOUT_SECS, verify=device.hub.ca_file)
    assert answer.content == b"onetwo"


def test_an_address_opens_its_blob_alone(hub, device):
    upload = begin(device, "mine")
    other = begin(device, "other")
    for url, name in [
        (url_of(upload, f"{device.id}/another"), "AuthenticationFailed"),
        (url_of(upload, f"{device.id}2/mine"), "AuthenticationFailed"),
        (url_of(upload, token=other["sasToken"]), "AuthenticationFailed"),
        (url_of(upload, token=""), "AuthenticationFailed"),
        (url_of(upload, token=upload["sasToken"].replace("sp=rw", "sp=rwd")), "AuthenticationFailed"),
        (url_of(upload, f"{device.id}%2F..%2F{device.id}%2Fmine"), "InvalidUri"),
        (url_of(upload, f"{device.id}%2F%00mine"), "InvalidUri"),
    ]:
        answer = put(device, url)
        assert answer.headers.get("x-ms-error-code") == name, url
    assert_fault(put(device, url_of(upload, token="?sv=x&sig=x")), 403, "AuthenticationFailed")
    hub.await_record("refused", "signature_mismatch", device.id)
    answer = requests.delete(url_of(upload), timeout=TIMEOUT_SECS, verify=device.hub.ca_file)
    assert_fault(answer, 403, "AuthorizationPermissionMismatch")


def test_a_body_is_not_read_before_its_sender_is_known(device):
    """A stranger that announces a large body is answered at once, before any of it was sent."""
    context = ssl.create_default_context(cafile=device.hub.ca_file)
    with (
        socket.create_connection((HOST, device.hub.port("https")), timeout=TIMEOUT_SECS) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as peer,
    ):
        head = f"PUT /uploads/{device.id}/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000000\r\nExpect: 100-continue\r\n\r\n"
        peer.sendall(head.encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 403 ")


def test_a_service_reads_and_deletes(hub, device):
    upload = begin(device, "for services")
    assert put(device, url_of(upload), b"content").status_code == 201
    url = url_of(upload, quote(upload["blobName"]), "")
    key = dict(part.split("=", 1) for part in hub.service_connection_string().split(";"))
    token = tokens.signature_token(HOST, key["SharedAccessKey"], policy=key["SharedAccessKeyName"])
    options = {"headers": {"Authorization": token}, "timeout": TIMEOUT_SECS, "verify": hub.ca_file}
    assert requests.get(url, **options).content == b"content"
    head = requests.head(url, **options)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "7")
    assert_fault(requests.put(url, data=b"x", **options), 403, "AuthorizationPermissionMismatch")
    assert requests.delete(url, **options).status_code == 202
    assert_fault(requests.get(url, **options), 404, "BlobNotFound")


def test_ten_uploads_and_no_more(device):
    uploads = [begin(device, f"file {number}") for number in range(10)]
    refused = ask(device, "files", {"blobName": "one more"})
    assert_error(refused, 403, "DeviceMaximumActiveFileUploadLimitExceeded")
    assert "Number of active file upload requests cannot exceed 10" in refused.json()["Message"]
    assert end(device, uploads[0], success=False).status_code == 204
    begin(device, "one more")


def test_ten_uploads_also_in_a_race(device):
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(lambda number: ask(device, "files", {"blobName": f"file {number}"}), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [403] * 6


def test_what_ends_an_upload(hub, device, node):
    upload = begin(device, "never written")
    assert_error(end(device, upload), 400, "InvalidStorageEndpointOrBlob")
    assert end(device, upload, success=False).status_code == 204
    assert_error(end(device, upload, success=False), 400, "InvalidFileUploadCorrelationId")
    assert_error(end(device, {"correlationId": "x"}), 400, "InvalidFileUploadCorrelationId")
    upload = begin(device, "written")
    assert put(device, url_of(upload)).status_code == 201
    path = f"files/notifications/{quote(upload['correlationId'], safe='')}"
    assert ask(device, path, {"isSuccess": True, "statusCode": 200, "statusDescription": "x"}).status_code == 204
    assert [told["blobName"] for told in notification_of(hub, node, device)] == [upload["blobName"]]
    assert_error(ask(device, "files", {"blobName": ""}), 400, "ArgumentInvalid")
    assert_error(ask(device, "files", {"blobName": "../x"}), 400, "ArgumentInvalid")
    assert_error(ask(device, "files", {}), 400, "ArgumentInvalid")
    assert_error(ask(device, "files", {"blobName": "x"}, token="SharedAccessSignature sr=x&sig=x&se=1"), 401, "IotHubUnauthorizedAccess")


def test_everything_goes_with_the_device(hub, device, node, registry):
    upload = begin(device, "orphan")
    assert put(device, url_of(upload)).status_code == 201
    assert end(device, upload).status_code == 204
    registry.delete_device(device.id)
    assert_fault(put(device, url_of(upload)), 403, "AuthenticationFailed")
    registry.create_device_with_sas(device.id, device.key, device.key, "enabled")
    assert_fault(put(device, url_of(upload)), 403, "AuthenticationFailed")
    assert notification_of(hub, node, device) == []


def test_a_disabled_device_writes_nothing(device, registry):
    upload = begin(device, "late")
    found = registry.get_device(device.id)
    registry.update_device_with_sas(device.id, found.etag, device.key, device.key, "disabled")
    assert_fault(put(device, url_of(upload)), 403, "AuthenticationFailed")


def test_limits_and_expiry(own_hub):
    hub = own_hub(
        [
            "--set", "limits.file_sas_life_secs=2",
            "--set", "limits.blob_put_bytes_max=1000",
            "--set", "limits.blob_block_bytes_max=1000",
            "--set", "limits.blob_bytes_max=1500",
        ]
    )
    created = ServiceHttp(hub).create_device("files")
    device = Device(hub, "files", created["authentication"]["symmetricKey"]["primaryKey"], created["generationId"])
    upload = begin(device, "small")
    url = url_of(upload)
    assert put(device, url, b"x" * 1000).status_code == 201
    assert_fault(put(device, url, b"x" * 1001), 413, "RequestBodyTooLarge")
    assert_fault(put(device, url, iter([b"x" * 600, b"x" * 600])), 413, "RequestBodyTooLarge")
    assert put(device, f"{url}&comp=block&blockid=MQ%3D%3D", b"x" * 1000).status_code == 201
    assert_fault(put(device, f"{url}&comp=block&blockid=Mg%3D%3D", b"x" * 501), 409, "BlockCountExceedsLimit")
    time.sleep(2.1)
    assert_fault(put(device, url), 403, "AuthenticationFailed")
    assert_error(end(device, upload), 400, "ExpiredFileUploadCorrelationId")


def test_the_quota_of_a_hub(own_hub):
    hub = own_hub(["--set", "limits.blob_hub_bytes_max=10000"])
    created = ServiceHttp(hub).create_device("files")
    device = Device(hub, "files", created["authentication"]["symmetricKey"]["primaryKey"], created["generationId"])
    upload, other = begin(device, "one"), begin(device, "other")
    assert put(device, url_of(upload), b"x" * 5000).status_code == 201
    assert_fault(put(device, url_of(other), b"x" * 5000), 409, "AccountQuotaExceeded")
    assert_fault(put(device, url_of(other), iter([b"x" * 3000, b"x" * 2000])), 409, "AccountQuotaExceeded")
    block = f"{url_of(other)}&comp=block&blockid=MQ%3D%3D"
    assert put(device, block, b"x" * 4000).status_code == 201
    doubled = b"<BlockList><Latest>MQ==</Latest><Latest>MQ==</Latest></BlockList>"
    assert_fault(put(device, f"{url_of(other)}&comp=blocklist", doubled), 409, "AccountQuotaExceeded")
    once = b"<BlockList><Latest>MQ==</Latest></BlockList>"
    assert put(device, f"{url_of(other)}&comp=blocklist", once).status_code == 201
    rest = begin(device, "rest")
    used = sum(path.stat().st_size for path in (Path(hub.data) / "hubs/hub1/blobs").rglob("*") if path.is_file())
    assert put(device, f"{url_of(rest)}&comp=block&blockid=MQ%3D%3D", b"x" * (10000 - used)).status_code == 201
    assert_error(ask(device, "files", {"blobName": "more"}), 403, "IotHubQuotaExceeded")
    hub.await_record("refused", "storage_full", device.id)
