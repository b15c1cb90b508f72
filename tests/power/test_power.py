"""A power cut: nothing that was answered is missing afterwards, and the test could see it if it were."""

import random
import subprocess
from pathlib import Path

import pytest

from tests.power.cuts import run, serve
from tests.power.disk import Disk, read_log

pytestmark = pytest.mark.acceptance

NUM_CUTS = 5
MOST_BLIND_CUTS = 5
WORK_SECONDS = (0.3, 1.2)


def test_nothing_answered_is_lost_with_fsync_always(tmp_path: Path, compiler: str) -> None:
    seed = random.getrandbits(32)

    with serve(tmp_path, compiler=compiler, fsync="always", seed=seed) as service:
        cuts = list(run(service, NUM_CUTS, seconds=WORK_SECONDS, seed=seed))
        broken = service.find_broken()

    assert [what for cut in cuts for what in cut.broken] == []
    assert broken == []
    assert [what for cut in cuts for what in cut.faults] == []
    assert len(cuts) == NUM_CUTS


def test_the_same_cuts_lose_something_with_fsync_everysec(tmp_path: Path, compiler: str) -> None:
    seed = random.getrandbits(32)

    with serve(tmp_path, compiler=compiler, fsync="everysec", seed=seed) as service:
        # Redis may have synced in the very moment of a cut; not in all of them.
        cut = next(
            cut
            for cut in run(service, MOST_BLIND_CUTS, seconds=WORK_SECONDS, seed=seed)
            if cut.lost
        )

    assert len(cut.broken) >= cut.lost
    assert cut.lost_seconds < 2.5  # Redis syncs each second, and waits one more for a slow disk
    assert cut.faults == ()


def test_log_follows_a_file_through_its_names() -> None:
    log = ["S\t10\t/d/temp", "R\t/d/temp\t/d/base", "S\t7\t/d/temp", "S\t5\t/d/old", "U\t/d/old"]

    assert read_log(log) == {"/d/base": 10, "/d/temp": 7}


def test_log_keeps_the_largest_size_that_was_confirmed() -> None:
    assert read_log(["S\t10\t/d/f", "S\t8\t/d/f"]) == {"/d/f": 10}


def test_shim_refuses_a_log_that_redis_would_lose(tmp_path: Path, compiler: str) -> None:
    Disk(tmp_path, compiler=compiler)

    ended = subprocess.run(
        ["true"],
        env={"LD_PRELOAD": str(tmp_path / "confirmed.so"), "POWER_LOG": "relative.log"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode != 0
    assert "must be an absolute path" in ended.stderr
