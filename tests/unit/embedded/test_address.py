"""The API's socket: a busy port is one clear sentence, port 0 is a free one."""

import socket

import pytest

from app.embedded.address import AddressUnusable, listen, url_of


def test_port_0_is_a_free_port() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

        assert url_of(listener) == f"http://127.0.0.1:{port}"
        assert port > 0


def test_connections_send_small_answers_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()[:2]):
            served, _ = listener.accept()

        with served:
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_busy_port_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(AddressUnusable, match=f"Port {port} on 127.0.0.1 is taken"):
            listen("127.0.0.1", port)


def test_host_that_does_not_exist_is_one_clear_sentence() -> None:
    with pytest.raises(AddressUnusable, match=r"Cannot listen on 192.0.2.1 port 0: .+\."):
        listen("192.0.2.1", 0)


def test_wildcard_is_named_by_its_loopback() -> None:
    with listen("0.0.0.0", 0) as listener:  # noqa: S104 - what is tested
        assert url_of(listener).startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="the machine has no IPv6")
@pytest.mark.parametrize("host", ["::", "::1"])
def test_ipv6_is_named_in_brackets(host: str) -> None:
    with listen(host, 0) as listener:
        assert url_of(listener).startswith("http://[::1]:")
