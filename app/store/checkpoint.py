"""Where a killed job can go on: the run, the state that its engine wrote, and the runs before it.

It does not know what the engine's bytes mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from app.domain.result import RunResult

_RESULTS: Final = TypeAdapter(tuple[RunResult, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A job as it stood between two blocks of a run.

    Attributes:
        run: Position of the run to go on with.
        step: Steps made in it; -1 before its row 0.
        state: The run's snapshot; empty, which no engine takes, when the record cannot be read.
        results: The runs before it, which have ended.
        seconds: Time that counts against timeout_seconds.
    """

    run: int
    step: int
    state: bytes
    results: tuple[RunResult, ...] = ()
    seconds: float = 0.0


def encode_checkpoint(checkpoint: Checkpoint) -> dict[str, str | bytes]:
    """Return the fields of its hash."""
    return {
        "run": str(checkpoint.run),
        "step": str(checkpoint.step),
        "state": checkpoint.state,
        "results": _RESULTS.dump_json(checkpoint.results),
        "seconds": repr(checkpoint.seconds),
    }


def decode_checkpoint(fields: Mapping[bytes, bytes]) -> Checkpoint:
    """Read the fields of its hash; an attempt starts over from what a later version wrote."""
    try:
        return Checkpoint(
            run=int(fields[b"run"]),
            step=int(fields[b"step"]),
            state=fields[b"state"],
            results=_RESULTS.validate_json(fields[b"results"]),
            seconds=float(fields[b"seconds"]),
        )
    except (KeyError, ValueError):
        return Checkpoint(run=0, step=-1, state=b"")
