"""Dockerfile and compose file: linted, hardened, and every command in them one that exists.

The commands that serve (CMD, HEALTHCHECK) are run for real by tests/acceptance/test_images.py.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.images import ROOT, stage_of, stages

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED: Final = dict(
    re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
)
COMMANDS: Final = [
    command for stage in stages() for line in stage.lines("RUN") for command in line.split(" && ")
]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def test_dockerfile_is_clean_for_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    lint = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert lint.stdout == ""
    assert lint.returncode == 0


def test_only_the_worker_image_has_torch_and_worker() -> None:
    assert {stage.name for stage in stages()} >= {"api", "worker"}
    assert stage_of("api").lines("COPY") == ["--from=build-api /opt/fitjobs /opt/fitjobs"]
    assert "worker worker" in stage_of("worker").lines("COPY")
    assert not any("worker]" in line for line in stage_of("build-api").lines("RUN"))
    assert any('".[worker]"' in line for line in stage_of("build-worker").lines("RUN"))


def test_images_run_as_nobody_in_particular() -> None:
    assert stage_of("runtime").lines("USER") == ["10001:10001"]
    assert stage_of("api").parent == stage_of("worker").parent == "runtime"


def test_everything_that_is_copied_exists_and_is_let_in() -> None:
    admitted = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for stage in stages()
        for line in stage.lines("COPY")
        if not line.startswith("--from")
        for name in line.split()[:-1]
    }

    assert all((ROOT / name).exists() for name in copied)
    assert copied <= admitted


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if " -m pip install " in command]
)
def test_installed_requirements_are_locked(command: str) -> None:
    extras = re.search(r'"?\.(?:\[(\w+)\])?"?$', command)
    assert extras, command
    wanted = list(PROJECT["dependencies"])
    if extras[1]:
        wanted += PROJECT["optional-dependencies"][extras[1]]

    assert "--constraint requirements.lock" in command
    assert [name for name in map(name_of, wanted) if name not in LOCKED] == []


def test_lock_has_no_index_no_hash_and_no_build_of_torch() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()

    assert [line for line in lines if line.startswith("-") or "hash" in line or "://" in line] == []
    assert LOCKED["torch"] == "2.13.0"
    assert not any("+" in version for version in LOCKED.values())


def test_lock_covers_every_dependency() -> None:
    groups = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(name for group in groups for name in group)]

    assert [name for name in map(name_of, wanted) if name not in LOCKED] == []


@pytest.mark.parametrize("command", [command for command in COMMANDS if "pip" not in command])
def test_build_command_runs_outside_a_container(command: str, tmp_path: Path) -> None:
    moved = command.replace("/opt/fitjobs", str(tmp_path / "venv")).replace("/var", str(tmp_path))
    # Only root may give files away: here they stay with whoever runs the test.
    words = moved.replace("--owner 10001", f"--owner {os.getuid()}").split()
    words = [str(os.getgid()) if word == "10001" else word for word in words]
    if words[0] in {"useradd", "groupadd"}:
        # Only its options are checked: a test makes no users.
        told = subprocess.run([words[0], "--help"], capture_output=True, text=True, check=True)
        known = re.findall(r"--[a-z-]+", told.stdout)

        assert [word for word in words if word.startswith("--") and word not in known] == []
        return
    if words[1:3] == ["-m", "venv"]:
        words = [sys.executable, *words[1:3], "--without-pip", *words[3:]]
    (tmp_path / "app").mkdir(exist_ok=words[0] == "mkdir")
    (tmp_path / "worker").mkdir(exist_ok=words[0] == "mkdir")
    if words[0] == "mkdir":
        (tmp_path / "app").rmdir()
        (tmp_path / "worker").rmdir()

    assert shutil.which(words[0])
    subprocess.run(words, cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_is_hardened(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's own
    assert service["init"] is True
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "30s"


def test_redis_is_reached_by_the_service_alone() -> None:
    assert "ports" not in SERVICES["redis"]
    assert SERVICES["redis"]["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]
    assert SERVICES["redis"]["volumes"] == ["redis-data:/data"]
    for name in ("api", "worker-cpu", "worker-cuda"):
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_services_are_built_from_targets_that_exist() -> None:
    targets = {service["build"]["target"] for name, service in SERVICES.items() if name != "redis"}

    assert targets == {"api", "worker"}
    assert SERVICES["worker-cuda"]["profiles"] == ["cuda"]


def test_cuda_worker_differs_from_the_image_by_queue_and_processes() -> None:
    image = stage_of("worker").command("CMD")
    own = SERVICES["worker-cuda"]["command"]

    assert [(a, b) for a, b in zip(image, own, strict=True) if a != b] == [
        ("cpu", "cuda"),
        ("2", "1"),
    ]
