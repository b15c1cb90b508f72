"""Every command of README and docs is run in reading order, and answers what the page promises."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.houses import House
from tests.docs.console import Command, commands_of
from tests.docs.console import matches as matches_promise
from tests.docs.pages import PAGES, ROOT, name_of

PROVED_ELSEWHERE: Final = {
    "make run": "tests/acceptance/test_up.py::test_classic_job_is_answered_with_its_curve",
    "make pictures": "tests/docs/test_pictures.py::test_picture_is_drawn_by_the_service",
    "make chaos": "tests/chaos/test_soak.py::test_nothing_is_lost_doubled_stuck_or_wrong",
    "make chaos SECONDS=60 SEED=7": "tests/chaos/test_commands.py::test_chaos_is_a_make_target",
    "make faults": "tests/chaos/test_commands.py::test_row_is_measured_and_written_down",
    "make bench": "tests/unit/benchmarks/test_command.py::test_bench_is_a_make_target",
    "fitjobs up": "tests/acceptance/test_up.py::test_job_is_answered_over_http",
    "FITJOBS_REDIS_URL=redis://10.0.0.5:6379/0 fitjobs up": (
        "tests/acceptance/test_up.py::test_given_redis_is_used_and_left_running"
    ),
    "docker compose up --build": (
        "tests/acceptance/test_images.py::test_api_image_serves_and_is_healthy"
    ),
    "docker compose --profile cuda up --build": (
        "tests/meta/test_images.py::test_cuda_worker_differs_from_the_image_by_queue_and_processes"
    ),
    "docker build --target worker --tag fitjobs-worker .": (
        "tests/meta/test_images.py::test_build_command_runs_outside_a_container"
    ),
    "pip install --constraint requirements.lock '.[worker]'": (
        "tests/meta/test_images.py::test_build_command_runs_outside_a_container"
    ),
    "export FITJOBS_REDIS_URL=redis://10.0.0.5:6379/0": (
        "tests/acceptance/test_images.py::test_worker_image_works_and_is_healthy"
    ),
    "celery --app worker.main worker --queues cpu --pool prefork --concurrency 8 \\\n"
    "    --loglevel info --without-gossip --without-mingle --without-heartbeat": (
        "tests/acceptance/test_images.py::test_worker_image_works_and_is_healthy"
    ),
    "celery --app worker.main worker --queues cuda --pool prefork --concurrency 1 \\\n"
    "    --loglevel info --without-gossip --without-mingle --without-heartbeat": (
        "tests/meta/test_images.py::test_cuda_worker_differs_from_the_image_by_queue_and_processes"
    ),
    "python -m worker.health": (
        "tests/acceptance/test_images.py::test_worker_image_works_and_is_healthy"
    ),
}
"""Commands that a test of the pages cannot run, and the test that proves each."""

ADDRESS: Final = "localhost:8000"
COMMAND_SECONDS: Final = 60


def run(command: Command, *, house: House, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader would, against the house and in an empty directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FITJOBS_")}
    programs = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.text.replace(ADDRESS, house.url.split("//")[1])],
        cwd=directory,
        # A .curlrc of the person who runs the tests is no part of the pages.
        env={**kept, "PATH": programs, "CURL_HOME": str(directory), "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def refusals_in(directory: Path) -> list[str]:
    """Return the files that hold a problem document."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path.name for path in files if b'"type": "/problems/' in path.read_bytes()]


@pytest.mark.acceptance
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_a_page_answer_what_it_promises(
    page: Path, served: House, tmp_path: Path
) -> None:
    for command in commands_of(page):
        if command.text in PROVED_ELSEWHERE:
            continue
        place = f"{name_of(page)}:{command.line}: {command.text}"
        ended = run(command, house=served, directory=tmp_path)

        assert ended.returncode == 0, f"{place}\n{ended.stderr}{ended.stdout}"
        assert matches_promise(command.promised, ended.stdout), f"{place}\n{ended.stdout}"
        # curl ends well also when it has written a refusal where a picture was meant.
        assert command.promised or not ended.stdout, f"{place}\n{ended.stdout}"
        assert refusals_in(tmp_path) == [], place


@pytest.mark.parametrize(("command", "test"), PROVED_ELSEWHERE.items())
def test_command_that_is_not_run_is_proved_by_a_test_that_exists(command: str, test: str) -> None:
    file, _, name = test.partition("::")

    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), command


def test_list_of_commands_that_are_not_run_has_no_others() -> None:
    shown = {command.text for page in PAGES for command in commands_of(page)}

    assert set(PROVED_ELSEWHERE) <= shown


def test_every_console_block_of_a_page_is_read() -> None:
    for page in PAGES:
        blocks = page.read_text(encoding="utf-8").count("```console")

        assert len({command.line for command in commands_of(page)}) >= blocks, page
