"""A proxy in front of a server that cuts a connection around its COMMIT."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

Cut = Literal["request lost", "reply lost", "late"]
CUTS: tuple[Cut, ...] = ("request lost", "reply lost", "late")


class _Mute(threading.Event):
    """Set when replies are to be kept from the client; `heard` tells that there was one."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()


class CommitProxy:
    """Forwards connections to a server on 127.0.0.1 and cuts the next COMMIT as `cut` says, once.

    "request lost": COMMIT does not reach the server. "reply lost": its reply does not reach the client.
    "late": the client loses its connection first, the server gets the COMMIT `late` seconds later.
    """

    def __init__(self, port: int) -> None:
        self.server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: Cut | None = None
        self.cuts = 0
        self.late = 0.1
        self.at_cut: Callable[[], object] = lambda: None
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _end(self._listener)
        self._listener.close()
        for one in list(self._open):
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Only this thread closes sockets: a number that another thread still reads from would be given out again.
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server)) as server:
            self._open |= {client, server}
            mute = _Mute()
            replies = threading.Thread(target=_replies, args=(client, server, mute), daemon=True)
            replies.start()
            with contextlib.suppress(OSError):
                self._requests(client, server, mute)
            _end(client)
            _end(server)
            replies.join()
            self._open -= {client, server}

    def _requests(self, client: socket.socket, server: socket.socket, mute: _Mute) -> None:
        while data := client.recv(65536):
            if b"COMMIT\0" in data and self.cut is not None:
                cut, self.cut = self.cut, None
                self._perform(cut, data, client, server, mute)
                return
            server.sendall(data)

    def _perform(self, cut: Cut, data: bytes, client: socket.socket, server: socket.socket, mute: _Mute) -> None:
        self.cuts += 1
        # The client learns of it only after whatever is to happen to the server.
        mute.set()
        if cut == "reply lost":
            server.sendall(data)
            assert mute.heard.wait(10), "the server did not answer the COMMIT"
        self.at_cut()
        _end(client)
        if cut == "late":
            time.sleep(self.late)
            server.sendall(data)
            time.sleep(0.02)


def _replies(client: socket.socket, server: socket.socket, mute: _Mute) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            if mute.is_set():
                mute.heard.set()
            else:
                client.sendall(data)
    if not mute.is_set():
        _end(client)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
