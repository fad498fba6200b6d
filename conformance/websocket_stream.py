"""A stream of bytes within the frames of a WebSocket, and a tunnel for clients that know TCP alone."""

import contextlib
import socket
import threading

import websocket

from certificates import Pair
from subject import HOST, Hub

PATH = "/$iothub/websocket"
TIMEOUT_SECS = 20


class WebSocketStream:
    """What `mqtt_wire` asks of a socket."""

    def __init__(self, hub: Hub, protocol: str, pair: Pair | None = None):
        tls = {"ca_certs": hub.ca_file} | ({"certfile": str(pair.certificate), "keyfile": str(pair.key)} if pair else {})
        url = f"wss://{HOST}:{hub.port('https')}{PATH}"
        self._socket = websocket.create_connection(url, timeout=TIMEOUT_SECS, subprotocols=[protocol], sslopt=tls)

    def sendall(self, data: bytes) -> None:
        try:
            self._socket.send_binary(data)
        except websocket.WebSocketException as error:
            raise OSError(str(error)) from error

    def recv(self, _: int) -> bytes:
        """Empty at the end."""
        while True:
            try:
                code, data = self._socket.recv_data()
            except websocket.WebSocketTimeoutException as error:
                raise TimeoutError from error
            except websocket.WebSocketConnectionClosedException:
                return b""
            if code == websocket.ABNF.OPCODE_CLOSE:
                return b""
            if data:
                return data

    def settimeout(self, secs: float) -> None:
        self._socket.settimeout(secs)

    def close(self) -> None:
        self._socket.close()


class Tunnel:
    """Listens on the loopback interface for one client, and carries its bytes over a WebSocket."""

    def __init__(self, hub: Hub, protocol: str, pair: Pair | None = None):
        self._stream = WebSocketStream(hub, protocol, pair)
        self._stream.settimeout(None)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._carry, daemon=True).start()

    def close(self) -> None:
        self._stream.close()
        self._listener.close()

    def _carry(self) -> None:
        client, _ = self._listener.accept()
        threading.Thread(target=self._carry_back, args=(client,), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self._stream.sendall(data)

    def _carry_back(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := self._stream.recv(65536):
                client.sendall(data)
        client.close()
