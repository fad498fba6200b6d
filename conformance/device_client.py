"""`azure-iot-device` as a whole device: twin, methods and messages, through either of its clients, as a device or as a module.

The synchronous and the asynchronous client have the same calls; here both are driven by blocking calls, so that a case is
written once and run for each of them.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from azure.iot.device import X509, IoTHubDeviceClient, IoTHubModuleClient, Message, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient
from azure.iot.device.aio import IoTHubModuleClient as AsyncModuleClient

from certificates import Pair
from subject import HOST

CLIENTS = {
    ("sync", "device"): IoTHubDeviceClient,
    ("sync", "module"): IoTHubModuleClient,
    ("aio", "device"): AsyncDeviceClient,
    ("aio", "module"): AsyncModuleClient,
}

CALL_TIMEOUT_SECS = 30
ARRIVAL_TIMEOUT_SECS = 15
# The client's own default is ten seconds, which every case of a lost connection would wait.
RETRY_INTERVAL_SECS = 1

# What a device does with a method: gets the request, returns status and payload, or None to leave it unanswered.
Handler = Callable[[MethodRequest], tuple[int, object] | None]


class DeviceClient:
    """One client and what has arrived for it. `listen_*` and `serve` are what makes the client subscribe."""

    def __init__(
        self,
        connection_string: str,
        ca_file: str,
        style: str = "sync",
        kind: str = "device",
        *,
        token: str | None = None,
        certificate: tuple[str, str | None, Pair] | None = None,
        websockets: bool = False,
    ):
        """A token, or the ids of a device and its module with their certificate, take the place of the connection string."""
        self.patches: queue.Queue[dict] = queue.Queue()
        self.messages: queue.Queue[Message] = queue.Queue()
        self.requests: queue.Queue[MethodRequest] = queue.Queue()
        self.style = style
        self._changes: queue.Queue[None] = queue.Queue()
        options = {
            "server_verification_cert": Path(ca_file).read_text(),
            "connection_retry_interval": RETRY_INTERVAL_SECS,
            "keep_alive": 30,
            "websockets": websockets,
        }
        self._client = made_by(CLIENTS[style, kind], token or connection_string, certificate, token is not None, options)
        self._client.on_connection_state_change = lambda: self._changes.put(None)

    def __enter__(self) -> "DeviceClient":
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def connect(self) -> None:
        self._call("connect")
        self._await_change("connection")

    def disconnect(self) -> None:
        self._call("disconnect")
        self._await_change("end of the connection")

    def shutdown(self) -> None:
        self._call("shutdown")

    def begin_upload(self, name: str) -> dict:
        return self._call("get_storage_info_for_blob", name)

    def end_upload(self, correlation_id: str) -> None:
        self._call("notify_blob_upload_status", correlation_id, True, 200, "OK")

    def await_loss(self) -> None:
        """Waits until the client has noticed that its connection is gone; it may be back already."""
        self._await_change("loss of the connection")

    def await_return(self) -> None:
        """Waits until the client has connected again by itself, after its loss was awaited."""
        self._await_change("return of the connection")
        while not self._client.connected:
            self._await_change("return of the connection")

    def send(self, body: str) -> None:
        self._call("send_message", Message(body))

    def get_twin(self) -> dict:
        return self._call("get_twin")

    def report(self, patch: dict) -> None:
        self._call("patch_twin_reported_properties", patch)

    def listen_for_desired(self) -> None:
        self._client.on_twin_desired_properties_patch_received = self._into(self.patches)

    def listen_for_messages(self) -> None:
        self._client.on_message_received = self._into(self.messages)

    def serve(self, handler: Handler) -> None:
        """Answers methods. Each request is kept in `requests` as well."""

        def answer_to(request: MethodRequest) -> MethodResponse | None:
            self.requests.put(request)
            answer = handler(request)
            return MethodResponse.create_from_method_request(request, *answer) if answer else None

        def on_request(request: MethodRequest) -> None:
            if response := answer_to(request):
                self._client.send_method_response(response)

        async def on_request_async(request: MethodRequest) -> None:
            if response := answer_to(request):
                await self._client.send_method_response(response)

        self._client.on_method_request_received = on_request_async if self.style == "aio" else on_request

    def next_patch(self) -> dict:
        return arrival(self.patches, "desired patch")

    def next_message(self) -> Message:
        return arrival(self.messages, "message")

    def _await_change(self, what: str) -> None:
        # Every change is told. Reading the state instead would miss a connection that was lost and is back within moments.
        arrival(self._changes, what, CALL_TIMEOUT_SECS)

    def _into(self, arrivals: queue.Queue) -> Callable:
        async def put(item: object) -> None:
            arrivals.put(item)

        return put if self.style == "aio" else arrivals.put

    def _call(self, name: str, *arguments: object) -> object:
        outcome = getattr(self._client, name)(*arguments)
        if self.style == "sync":
            return outcome
        return asyncio.run_coroutine_threadsafe(outcome, _loop()).result(timeout=CALL_TIMEOUT_SECS)


def made_by(
    maker: type, text: str, certificate: tuple[str, str | None, Pair] | None, is_token: bool, options: dict
) -> IoTHubDeviceClient | IoTHubModuleClient:
    if certificate:
        device, module, pair = certificate
        x509 = X509(cert_file=str(pair.certificate), key_file=str(pair.key))
        return maker.create_from_x509_certificate(x509, HOST, device, *([module] if module else []), **options)
    return (maker.create_from_sastoken if is_token else maker.create_from_connection_string)(text, **options)


def arrival(arrivals: queue.Queue, what: str, within_secs: float = ARRIVAL_TIMEOUT_SECS) -> object:
    try:
        return arrivals.get(timeout=within_secs)
    except queue.Empty:
        raise AssertionError(f"no {what} within {within_secs} s") from None


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of an application that uses the asynchronous client; it runs as long as the tests."""
    global _application
    if _application is None:
        _application = asyncio.new_event_loop()
        threading.Thread(target=_application.run_forever, daemon=True).start()
    return _application


_application: asyncio.AbstractEventLoop | None = None
