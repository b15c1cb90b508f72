"""Every environment variable of every process, prefix FITJOBS_, with its unit and its bounds."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.redis_url import BadRedisUrl, check_redis_url


class Settings(BaseSettings):
    """What the environment may change; read once in an entry point and passed down.

    Attributes:
        host: Address that the API listens on.
        port: TCP port of the API.
        data_dir: Where `fitjobs up` keeps its Redis, its lock and its log.
        redis_url: Redis or Valkey to use, or the Sentinels that know it; unset, `fitjobs up`
            starts its own.
        min_replicas: Replicas that must have a change before a client is told of it.
        redis_max_memory_bytes: Beyond, the Redis that `fitjobs up` starts refuses new jobs.
        namespace: First part of every key, so that several services can share one Redis.
        cpu_workers: CPU worker processes that `fitjobs up` starts.
        log_format: "text" for people, "json" for machines.
        log_level: Least severe level that is written.
        api_keys: Keys that clients must send as "Authorization: Bearer", separated by
            commas; empty lets everyone in.
        max_body_bytes: Largest request body.
        max_batch_points: Points that a batch may bring, all series together.
        max_queued_jobs: Jobs that may wait; beyond, a submit is a 503.
        max_wait_seconds: Longest ?wait; proxies cut at 60.
        retention_seconds: How long a finished job is kept.
        idempotency_seconds: How long an Idempotency-Key is remembered after its job's end.
        queue_timeout_seconds: A job that waits longer than this fails with queue-time-exceeded.
        lease_seconds: A worker silent for this long has lost its job.
        heartbeat_seconds: How often a worker renews its lease.
        stall_seconds: A job in hand that makes no headway for this long costs its worker the life.
        recovery_seconds: How often lost jobs and lost wake-ups are looked for.
        max_fruitless_attempts: Attempts in a row that got no further before a job is worker-lost.
        store_timeout_seconds: How long the API waits for Redis before it answers 503.
        kernel_dir: Where workers keep the update rules that they have compiled.
        worker_max_memory_bytes: A job that would take a CPU worker process above this fails; a
            process above it is replaced after its job.
    """

    model_config = SettingsConfigDict(
        env_prefix="FITJOBS_",
        frozen=True,
        extra="forbid",
        # FITJOBS_REDIS_URL= in a compose file means that it is not set.
        env_ignore_empty=True,
        # A URL has passwords, and api_keys are nothing else.
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    data_dir: Path = Path(".fitjobs")
    redis_url: str | None = None
    min_replicas: int = Field(default=0, ge=0, le=16)
    redis_max_memory_bytes: int = Field(default=2**30, ge=2**24, le=2**44)
    namespace: str = Field(default="fit", pattern=r"^[a-z0-9_-]{1,32}$")
    cpu_workers: int = Field(default=2, ge=1, le=256)
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    api_keys: str = ""
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024, le=2**30)
    max_batch_points: int = Field(default=1_000_000, ge=1, le=30_000_000)
    max_queued_jobs: int = Field(default=10_000, ge=1, le=1_000_000)
    max_wait_seconds: float = Field(default=55.0, ge=0, le=600)
    retention_seconds: int = Field(default=7 * 86_400, ge=1, le=366 * 86_400)
    idempotency_seconds: int = Field(default=86_400, ge=1, le=30 * 86_400)
    queue_timeout_seconds: int = Field(default=86_400, ge=1, le=30 * 86_400)
    lease_seconds: Annotated[float, Field(ge=0.5, le=600)] = 4.0
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    stall_seconds: Annotated[float, Field(ge=5, le=86_400)] = 60.0
    recovery_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    max_fruitless_attempts: int = Field(default=3, ge=1, le=100)
    store_timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    kernel_dir: Path = Path("~/.cache/fitjobs/kernels")
    worker_max_memory_bytes: int = Field(default=1536 * 1024 * 1024, ge=2**29, le=2**40)

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, url: str | None) -> str | None:
        try:
            return None if url is None else check_redis_url(url)
        except BadRedisUrl as error:
            raise PydanticCustomError("redis_url", "{why}", {"why": str(error)}) from error

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError(
                "FITJOBS_LEASE_SECONDS must be at least twice FITJOBS_HEARTBEAT_SECONDS: "
                "one late heartbeat must not lose a job"
            )
        return self
