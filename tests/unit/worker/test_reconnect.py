"""Whoever has lost Redis looks for it sooner than it would have called otherwise."""

from collections.abc import Iterator

import pytest

from app.domain.job import WorkerInfo
from app.settings import Settings
from app.store.connect import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Pauses
from tests.proxy import Proxy, address_of
from tests.unit.worker.desk import TestDesk
from tests.waiting import wait_until
from worker.lease import Lease
from worker.presence import ANNOUNCE_SECONDS, Presence
from worker.pulse import Pulse

INFO = WorkerInfo(name="w", queue="cpu", devices=("cpu",), torch="2.13.0", started_at_ms=1)
HEARTBEAT_SECONDS = 1.5


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    between = Proxy(address_of(redis_url))
    yield between
    between.close()


@pytest.fixture
def far(proxy: Proxy, settings: Settings) -> Iterator[TestDesk]:
    """A desk whose Redis can be cut off."""
    with TestDesk(f"redis://127.0.0.1:{proxy.port}", settings) as opened:
        yield opened


def test_pauses_grow_to_their_bound_and_never_in_step() -> None:
    one, other = Pauses(), Pauses()
    # An outage of half an hour: a power of two of the number of failures would have overflowed.
    lengths = [one.next_seconds() for _ in range(2_000)]

    assert all(FIRST_PAUSE_SECONDS <= length <= LONGEST_PAUSE_SECONDS for length in lengths)
    assert lengths[0] <= 3 * FIRST_PAUSE_SECONDS
    assert max(lengths) > LONGEST_PAUSE_SECONDS / 2
    assert lengths[:20] != [other.next_seconds() for _ in range(20)]


def test_pauses_begin_again_after_an_answer() -> None:
    pauses = Pauses()
    for _ in range(50):
        pauses.next_seconds()
    pauses.reset()

    assert pauses.next_seconds() <= 3 * FIRST_PAUSE_SECONDS


def test_worker_is_announced_as_soon_as_redis_is_back(
    far: TestDesk, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="worker.presence")
    proxy.refuse()
    present = Presence(far.runs, INFO)
    present.start()
    wait_until(
        lambda: caplog.messages.count("presence.not_announced") > 1,
        "two announcements failed",
        seconds=ANNOUNCE_SECONDS - 0.5,
    )
    proxy.allow()
    wait_until(
        lambda: far.ask(lambda store: store.workers()) == (INFO,),
        "the worker is announced",
        seconds=ANNOUNCE_SECONDS - 0.5,
    )
    present.close()


@pytest.mark.slow
def test_lease_is_renewed_as_soon_as_redis_is_back(
    far: TestDesk, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    far.submit()
    claim = far.runs.claim("cpu", worker="w", device="cpu")
    assert claim is not None
    before = far.redis.zscore("{fit}:leases", "j")
    with Lease(
        far.runs,
        claim,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        is_draining=lambda: False,
        pulse=Pulse(),
        stall_seconds=60.0,
    ) as lease:
        proxy.refuse()
        wait_until(lambda: "lease.not_renewed" in caplog.messages, "a renewal failed")
        wait_until(
            lambda: caplog.messages.count("lease.not_renewed") > 2,
            "two more failed",
            seconds=HEARTBEAT_SECONDS - 0.2,
        )
        proxy.allow()
        wait_until(
            lambda: far.redis.zscore("{fit}:leases", "j") > before, "it is renewed", seconds=2
        )

        assert not lease.is_lost
