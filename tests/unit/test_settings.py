"""Settings come from the environment, bounded; their names are a promise."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings

NAMES = {
    "host",
    "port",
    "data_dir",
    "redis_max_memory_bytes",
    "redis_url",
    "min_replicas",
    "namespace",
    "cpu_workers",
    "log_format",
    "log_level",
    "api_keys",
    "max_body_bytes",
    "max_batch_points",
    "max_queued_jobs",
    "max_wait_seconds",
    "retention_seconds",
    "idempotency_seconds",
    "queue_timeout_seconds",
    "lease_seconds",
    "heartbeat_seconds",
    "recovery_seconds",
    "stall_seconds",
    "max_fruitless_attempts",
    "store_timeout_seconds",
    "kernel_dir",
    "worker_max_memory_bytes",
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from outside the test."""
    for name in NAMES:
        monkeypatch.delenv(f"FITJOBS_{name.upper()}", raising=False)


def test_names_stay() -> None:
    assert set(Settings.model_fields) == NAMES


def test_every_setting_is_described() -> None:
    assert Settings.__doc__ is not None
    assert all(f"        {name}: " in Settings.__doc__ for name in NAMES)


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITJOBS_PORT", "9000")
    monkeypatch.setenv("FITJOBS_DATA_DIR", "elsewhere")
    settings = Settings()

    assert (settings.port, settings.data_dir) == (9000, Path("elsewhere"))
    assert settings.redis_url is None


def test_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FITJOBS_REDIS_URL", "")
    monkeypatch.setenv("FITJOBS_PORT", "")

    assert (Settings().redis_url, Settings().port) == (None, 8000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("NAMESPACE", "a{b}"),
        ("CPU_WORKERS", "0"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "INFO"),
        ("MAX_WAIT_SECONDS", "nan"),
        ("LEASE_SECONDS", "0.1"),
        ("LEASE_SECONDS", "1.5"),
        ("HEARTBEAT_SECONDS", "3"),
        ("MIN_REPLICAS", "-1"),
    ],
)
def test_value_out_of_bounds_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"FITJOBS_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_bad_redis_url_is_one_sentence_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FITJOBS_REDIS_URL", "redis+sentinel://:secret@host")
    with pytest.raises(ValidationError) as caught:
        Settings()
    (error,) = caught.value.errors(include_url=False)

    assert error["msg"].startswith("The URL names no service of the Sentinels: write ")
    assert "secret" not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]
