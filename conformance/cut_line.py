"""A line between a client and the server that can be cut, left dead and joined again."""

import contextlib
import socket
import threading

BYTES_AT_ONCE = 65536
CONNECT_TIMEOUT_SECS = 5


class CutLine:
    """Forwards TCP connections from `listen_on` to `forward_to`. While cut, new connections are accepted and dropped.

    The server sees them come from the address `seen_from`, if one is given.
    """

    def __init__(self, listen_on: tuple[str, int], forward_to: tuple[str, int], seen_from: str | None = None):
        self._forward_to = forward_to
        self._source = (seen_from, 0) if seen_from else None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._listener = socket.create_server(listen_on)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "CutLine":
        return self

    def __exit__(self, *_: object) -> None:
        # A blocked accept does not notice a close, but it does a shutdown.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def join(self) -> None:
        with self._lock:
            self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = None
            with contextlib.suppress(OSError):
                far = socket.create_connection(self._forward_to, CONNECT_TIMEOUT_SECS, self._source)
                far.settimeout(None)
            with self._lock:
                is_usable = far is not None and not self._is_cut
                if is_usable:
                    self._open |= {near, far}
            if not is_usable:
                near.close()
                if far:
                    far.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BYTES_AT_ONCE):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
