"""A TCP proxy of the tests' own: it drops, refuses, freezes and cuts what passes between two ends."""

import socket
import threading
from contextlib import suppress
from typing import Final, Literal
from urllib.parse import urlsplit

Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""

_CHUNK_BYTES: Final = 65_536


class Proxy:
    """Listens on a port of 127.0.0.1 and passes every connection on to a target.

    Args:
        target: Where connections go; may be changed at any time, for the connections to come.
    """

    def __init__(self, target: Address) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open = set[socket.socket]()
        self._flows = threading.Event()
        self._flows.set()
        self._is_refusing = False
        self._cut: tuple[bytes, str] | None = None
        self._has_cut = threading.Event()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def drop(self) -> None:
        """Close every connection; new ones are accepted."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            _shut(end)

    def refuse(self) -> None:
        """Close every connection, and each new one at once, until `allow`."""
        self._is_refusing = True
        self.drop()

    def allow(self) -> None:
        self._is_refusing = False

    def freeze(self) -> None:
        """Let nothing pass, and close nothing, until `thaw`: a network that swallows."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def cut(self, request: bytes, *, when: Literal["before", "after"]) -> None:
        """Close the next connection whose client sends these bytes, once.

        Args:
            request: What to look for in what one read brings.
            when: "before" the target has seen them, or "after" it has answered: the answer is lost.
        """
        self._has_cut.clear()
        self._cut = (request, when)

    def wait_until_cut(self, *, seconds: float = 10.0) -> None:
        assert self._has_cut.wait(seconds), f"no connection was cut within {seconds} s"

    def is_idle(self) -> bool:
        """Tell whether no connection is open."""
        with self._lock:
            return not any(end.fileno() != -1 for end in self._open)

    def close(self) -> None:
        self._listener.close()
        self._flows.set()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._is_refusing:
                return
            server = connect(self.target)
        except OSError:
            return
        else:
            losing = threading.Event()
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(
                target=self._pump, args=(server, client), kwargs={"losing": losing}, daemon=True
            )
            back.start()
            self._pump(client, server, losing=losing, watches=True)
            back.join()
            server.close()
        finally:
            client.close()
            with self._lock:
                self._open = {end for end in self._open if end.fileno() != -1}

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        *,
        losing: threading.Event,
        watches: bool = False,
    ) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                self._flows.wait()
                when = self._take_cut(chunk) if watches else None
                if when == "after":
                    losing.set()
                # After: the target has done what was asked, and nobody will hear of it.
                if when == "before" or (not watches and losing.is_set()):
                    self._has_cut.set()
                    break
                sink.sendall(chunk)
        _shut(source)
        _shut(sink)

    def _take_cut(self, chunk: bytes) -> str | None:
        """Return when to cut, if this chunk has what was looked for; once."""
        with self._lock:
            if self._cut is None or self._cut[0] not in chunk:
                return None
            _, when = self._cut
            self._cut = None
        return when


def connect(target: Address) -> socket.socket:
    """Return a connection to a target."""
    if isinstance(target, str):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(target)
        except OSError:
            made.close()
            raise
        return made
    return socket.create_connection(target)


def address_of(url: str) -> Address:
    """Return where a redis:// or unix:// URL points."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return parts.hostname or "127.0.0.1", parts.port or 6379


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
