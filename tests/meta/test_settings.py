"""Every setting is told: in the README or the docs, with its default, and to containers."""

import re
from pathlib import Path
from typing import Final

import pytest
import yaml
from typer.main import get_command

from app.client.cli import app
from app.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTED: Final = "\n".join(
    path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
)
ROW: Final = re.compile(r"^\| `FITJOBS_([A-Z_]+)` \| (?:`([^`]*)`|([^|]*?)) \|", re.MULTILINE)
NAMES: Final = frozenset(Settings.model_fields)


def default_of(name: str) -> str:
    """Return a default as the table writes it: in words when there is none."""
    default = Settings.model_fields[name].default
    return "none" if default in {None, ""} else str(default)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_setting_stands_in_the_table_with_its_default(name: str) -> None:
    rows = {found[1].lower(): found[2] or found[3] for found in ROW.finditer(DOCUMENTED)}

    assert name in rows
    assert rows[name] == default_of(name)


def test_table_lists_no_setting_that_does_not_exist() -> None:
    assert {found[1].lower() for found in ROW.finditer(DOCUMENTED)} <= NAMES


def test_setting_is_described_where_it_is_declared() -> None:
    described = re.findall(r"^ {8}(\w+): ", Settings.__doc__ or "", re.MULTILINE)

    assert described == list(Settings.model_fields)


def test_command_line_names_settings_that_exist() -> None:
    up = get_command(app).commands["up"]
    named = {option.envvar for option in up.params if option.envvar}

    assert {name.removeprefix("FITJOBS_").lower() for name in named} == {
        "host",
        "port",
        "data_dir",
        "redis_url",
        "cpu_workers",
    }


def test_compose_file_names_settings_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    given = {
        name for service in compose["services"].values() for name in service.get("environment", {})
    }

    assert {name.removeprefix("FITJOBS_").lower() for name in given} <= NAMES
    assert "FITJOBS_REDIS_URL" in given
