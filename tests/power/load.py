"""Clients and workers that keep the service busy and write down what it answered."""

import random
import threading
import uuid
from http import HTTPStatus
from typing import Any, Final

import httpx
from redis import Redis

from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.job import Status
from app.settings import Settings
from app.store.claim import Claim
from app.store.runs import RunStore
from tests.power.ledger import Ledger, Promise
from tests.store.samples import make_outcome, make_progress, make_rows

NUM_BLOCKS: Final = 3
"""What a job records before it ends."""

_PAUSE_SECONDS: Final = 0.01
_ANSWER_SECONDS: Final = 10.0


class Client(threading.Thread):
    """Submits, reads, renames, cancels and deletes jobs of its own until it is told to stop.

    Args:
        url: The API.
        ledger: Where it writes what was answered.
        seed: Of what it does.
    """

    def __init__(self, url: str, ledger: Ledger, *, seed: int) -> None:
        super().__init__(name=f"client-{seed}", daemon=True)
        self.faults: list[str] = []
        self.over = threading.Event()
        self._http = httpx.Client(base_url=url, timeout=_ANSWER_SECONDS)
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - replayed by its seed
        self._own: dict[str, Promise] = {}

    def run(self) -> None:
        with self._http:
            while not self.over.is_set():
                self._act()

    def _act(self) -> None:
        alive = [job for job, promise in self._own.items() if not promise.is_delete_asked]
        if not alive or self._random.random() < 0.5:
            self._submit()
            return
        job_id = self._random.choice(alive)
        promise = self._own[job_id]
        choices = [self._read, self._read, self._rename, self._cancel]
        if promise.end is not None:
            choices.append(self._forget)
        self._random.choice(choices)(job_id, promise)

    def _submit(self) -> None:
        key = str(uuid.uuid4())
        answer = self._ask("POST", "/v1/jobs", json={}, headers={"Idempotency-Key": key})
        if answer is not None:
            job_id = answer.json()["id"]
            self._own[job_id] = self._ledger.accept(job_id, key=key)
            self._note(self._own[job_id], answer)

    def _read(self, job_id: str, promise: Promise) -> None:
        self._note(promise, self._ask("GET", f"/v1/jobs/{job_id}"))

    def _rename(self, job_id: str, promise: Promise) -> None:
        name = f"name-{self._random.randrange(10**6)}"
        promise.names.add(name)
        answer = self._ask("PATCH", f"/v1/jobs/{job_id}", json={"name": name})
        if answer is not None:
            promise.names = {name}
        self._note(promise, answer)

    def _cancel(self, job_id: str, promise: Promise) -> None:
        answer = self._ask("POST", f"/v1/jobs/{job_id}/cancel")
        promise.is_cancel_answered |= answer is not None
        self._note(promise, answer)

    def _forget(self, job_id: str, promise: Promise) -> None:
        promise.is_delete_asked = True
        promise.is_delete_answered = self._ask("DELETE", f"/v1/jobs/{job_id}") is not None

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Return what was answered; None when the store is away."""
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            self.faults.append(f"{method} {path}: {error!r}")
            return None
        if answer.is_success:
            return answer
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            self.faults.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return None

    @staticmethod
    def _note(promise: Promise, answer: httpx.Response | None) -> None:
        if answer is not None:
            promise.read(answer.json(), seq=seq_of(answer))


class Worker(threading.Thread):
    """Claims jobs, records a few blocks of each and hands in a result, until it is told to stop.

    Args:
        redis: The store; its own connection.
        settings: Lease and namespace.
        ledger: Where it writes which results the store has taken.
    """

    def __init__(self, redis: Redis, settings: Settings, ledger: Ledger) -> None:
        super().__init__(name="worker", daemon=True)
        self.over = threading.Event()
        self._redis = redis
        self._runs = RunStore(redis, settings)
        self._ledger = ledger

    def run(self) -> None:
        with self._redis:
            while not self.over.is_set():
                try:
                    claim = self._runs.claim("cpu", worker=self.name, device="cpu")
                    if claim is None:
                        self.over.wait(_PAUSE_SECONDS)
                    else:
                        self._work(claim)
                except LeaseLost:
                    continue
                except StoreUnavailable:
                    self.over.wait(_PAUSE_SECONDS)

    def _work(self, claim: Claim) -> None:
        for number in range(NUM_BLOCKS):
            rows = make_rows(number * 10, number * 10 + 10)
            progress = make_progress(rows.step[-1])
            self._runs.record(claim, run=0, rows=[rows], progress=progress, with_event=True)
        status = Status.SUCCEEDED
        if self._runs.is_cancel_requested(claim):
            status = Status.CANCELLED
        self._runs.finish(claim, status=status, outcome=make_outcome(), error=None)
        self._ledger.hand_in(claim.record.id)


def seq_of(answer: httpx.Response) -> int:
    """Return the version of a job in an answer's ETag."""
    return int(answer.headers["ETag"].strip('"').split("-")[0])
