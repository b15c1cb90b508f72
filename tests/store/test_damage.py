"""A damaged append-only file: Redis starts with less only where nothing confirmed is lost."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from app.settings import Settings
from app.store import server
from app.store.append_only import AppendOnlyFile
from app.store.connect import connect_sync
from tests.waiting import wait_until

NUM_KEYS = 50
Damage = Callable[[AppendOnlyFile], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a killed Redis left: 50 keys in its base, 50 in its increment, no hourly copy."""
    directory = tmp_path_factory.mktemp("written")
    running = server.start(directory)
    with connect_sync(Settings.model_construct(), running.url) as client:
        fill(client, "base")
        client.bgrewriteaof()
        wait_until(lambda: base_of(directory).name.endswith(".2.base.rdb"), "a new base")
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "rewritten")
        fill(client, "increment")
    running.process.kill()
    running.process.wait()
    return directory


@pytest.fixture
def files(written: Path, tmp_path: Path) -> AppendOnlyFile:
    """A copy of it that a test may damage."""
    directory = tmp_path / "redis"
    shutil.copytree(written, directory, ignore=shutil.ignore_patterns("*.sock", "*.log"))
    return AppendOnlyFile(directory=directory, binary=server.find_binary())


def fill(client: Redis, name: str) -> None:
    for number in range(NUM_KEYS):
        client.set(f"{name}:{number}", "x" * 50)


def base_of(directory: Path) -> Path:
    return max(directory.glob("appendonlydir/*.base.rdb"))


def increment_of(files: AppendOnlyFile) -> Path:
    return max(files.folder.glob("*.incr.aof"))


def cut(path: Path, *, by: int | None = None) -> None:
    """Cut so many bytes off; None leaves none."""
    kept = path.read_bytes()[: None if by is None else -by] if by else b""
    path.write_bytes(kept)


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 12] = b"\xff\x00 garbage\xff"
    path.write_bytes(content)


def lose_the_end(files: AppendOnlyFile) -> None:
    """Let the power go before the last write reached the disk."""
    with increment_of(files).open("ab") as increment:
        increment.write(b"\0" * 4096)


def copy_hourly(files: AppendOnlyFile) -> None:
    """Put an hourly copy of what the base holds beside the folder."""
    shutil.copyfile(base_of(files.directory), files.copy)


def count_keys(running: server.RedisServer) -> int:
    with connect_sync(Settings.model_construct(), running.url) as client:
        return int(client.dbsize())


def test_a_tail_that_was_cut_off_is_told_and_costs_only_itself(files: AppendOnlyFile) -> None:
    cut(increment_of(files), by=7)

    running = server.start(files.directory)
    found = count_keys(running)
    running.stop()

    assert found == 2 * NUM_KEYS - 1
    (notice,) = running.notices
    assert f"{increment_of(files)} ended in the middle of a write" in notice


@pytest.mark.parametrize("by", [1, 5, 20, 40, 60, 75])
def test_a_script_that_was_cut_off_leaves_no_half_and_harms_no_later_one(
    files: AppendOnlyFile, by: int
) -> None:
    script = "redis.call('SET', 'a' .. ARGV[1], 1) redis.call('SET', 'b' .. ARGV[1], 1)"
    kill_after(files, lambda client: client.eval(script, 0, "torn"))
    cut(increment_of(files), by=by)

    kill_after(files, lambda client: client.eval(script, 0, "later"))
    running = server.start(files.directory)
    with connect_sync(Settings.model_construct(), running.url) as client:
        found = client.exists("atorn", "btorn"), client.exists("alater", "blater")
    running.stop()

    assert found == (0, 2)
    assert running.notices == ()


def kill_after(files: AppendOnlyFile, write: Callable[[Redis], object]) -> None:
    running = server.start(files.directory)
    with connect_sync(Settings.model_construct(), running.url) as client:
        write(client)
    running.process.kill()
    running.process.wait()


def test_nobody_is_let_in_before_the_files_are_loaded_whole(
    files: AppendOnlyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_LOADS", 1)
    cut(increment_of(files), by=7)

    with pytest.raises(server.ServerFailed, match=r"not load its files whole: .*was cut off"):
        server.start(files.directory)

    assert not (files.directory / "redis.sock").exists()


def test_an_increment_of_no_bytes_is_told(files: AppendOnlyFile) -> None:
    cut(increment_of(files))

    running = server.start(files.directory)
    found = count_keys(running)
    running.stop()

    assert found == NUM_KEYS
    (notice,) = running.notices
    assert f"{increment_of(files)} is empty" in notice


_REFUSED: dict[str, tuple[Damage, str]] = {
    "garbage in the increment": (lambda files: garble(increment_of(files)), "incr.aof is damaged"),
    "zeros at the end": (lose_the_end, "incr.aof is damaged"),
    "no increment": (lambda files: increment_of(files).unlink(), "incr.aof is missing"),
    "no base": (lambda files: base_of(files.directory).unlink(), "base.rdb is missing"),
    "an empty base": (lambda files: cut(base_of(files.directory)), "base.rdb is empty"),
    "a short base": (lambda files: cut(base_of(files.directory), by=7), "has a damaged base"),
    "garbage in the base": (lambda files: garble(base_of(files.directory)), "has a damaged base"),
    "an empty manifest": (lambda files: cut(files.manifest), "has a manifest that cannot be read"),
    "a garbled manifest": (
        lambda files: garble(files.manifest),
        "has a manifest that cannot be read",
    ),
    "no manifest": (lambda files: files.manifest.unlink(), "manifest is missing"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_damage_is_refused_in_a_sentence_that_says_where(files: AppendOnlyFile, name: str) -> None:
    damage, sentence = _REFUSED[name]
    damage(files)
    left = contents_of(files.folder)

    with pytest.raises(server.ServerFailed) as caught:
        server.start(files.directory)

    assert sentence in caught.value.detail
    assert f"copy {files.folder} first" in caught.value.detail
    assert "hourly copy" not in caught.value.detail
    assert contents_of(files.folder) == left


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_of_the_sentence_mends_the_increment(files: AppendOnlyFile) -> None:
    garble(increment_of(files))
    with pytest.raises(server.ServerFailed) as caught:
        server.start(files.directory)

    command = caught.value.detail.split("`")[1]
    subprocess.run(["bash", "-c", command], input=b"y\n", check=True, capture_output=True)
    running = server.start(files.directory)
    found = count_keys(running)
    running.stop()

    assert NUM_KEYS < found < 2 * NUM_KEYS


def test_a_folder_moved_away_is_replaced_by_the_hourly_copy(files: AppendOnlyFile) -> None:
    copy_hourly(files)
    garble(increment_of(files))
    with pytest.raises(server.ServerFailed, match="the next start takes the hourly copy of 20"):
        server.start(files.directory)
    files.folder.rename(files.directory / "damaged")

    running = server.start(files.directory)
    with connect_sync(Settings.model_construct(), running.url) as client:
        client.set("new", "x")
    running.process.kill()
    running.process.wait()
    again = server.start(files.directory)
    found = count_keys(again)
    again.stop()

    assert "Redis took the hourly copy of 20" in running.notices[0]
    assert again.notices == ()
    assert found == NUM_KEYS + 1


def test_files_that_hold_nothing_beside_a_copy_are_refused(files: AppendOnlyFile) -> None:
    copy_hourly(files)
    shutil.rmtree(files.folder)
    first = server.start(files.directory.with_name("new"))
    first.process.kill()
    first.process.wait()
    shutil.copytree(files.directory.with_name("new") / "appendonlydir", files.folder)

    with pytest.raises(server.ServerFailed, match="are empty, but the hourly copy is not"):
        server.start(files.directory)


def test_a_first_start_that_was_killed_is_no_damage(files: AppendOnlyFile) -> None:
    shutil.rmtree(files.folder)
    first = server.start(files.directory)
    first.process.kill()
    first.process.wait()
    files.manifest.unlink()

    again = server.start(files.directory)
    again.stop()

    assert again.notices == ()


def test_a_copy_that_cannot_be_written_out_is_refused(files: AppendOnlyFile) -> None:
    copy_hourly(files)
    shutil.rmtree(files.folder)
    files.folder.write_text("in the way")

    with pytest.raises(server.ServerFailed, match=r"could not write .*appendonlydir: "):
        server.start(files.directory)
