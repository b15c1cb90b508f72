"""The API's listening socket, opened before anything else is started and kept while it serves."""

import errno
import socket
from typing import Final

BACKLOG: Final = 2048
"""uvicorn's own default."""


class AddressUnusable(Exception):
    """The API cannot listen where it was told to."""


def listen(host: str, port: int) -> socket.socket:
    """Open the socket that the API process inherits.

    Clients that connect while a dead API is started again wait in its backlog; none is refused.

    Args:
        host: Name or address.
        port: 0 takes any free one.

    Raises:
        AddressUnusable: The port is taken, or the host is not one of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressUnusable(
                f"Port {port} on {host} is taken: stop what listens there, "
                "or choose another with FITJOBS_PORT (0 finds a free one)."
            ) from error
        raise AddressUnusable(
            f"Cannot listen on {host} port {port}: {error.strerror or error}."
        ) from error
    # Connections inherit it. uvicorn takes an inherited socket for a Unix one and would leave it
    # out: the body of an answer then waits 40 ms for the client's acknowledgement of the head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address to type: one that listens everywhere is named by its loopback."""
    host, port = listener.getsockname()[:2]
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104 - compared, not listened on
        host, f"[{host}]" if ":" in host else host
    )
    return f"http://{named}:{port}"
