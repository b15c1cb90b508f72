"""Reads the records of a job's runs back: what no shard has written yet was never made.

It does not know what stands in a record.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from app.domain.run_records import layout, never_made
from app.domain.shards import Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where the records of a job lie, and which of them are there.

    Attributes:
        is_batch: How long a record is.
        cut: How the runs are cut into shards.
        done: One bit a shard, the first one the highest of its byte; may end early.
    """

    is_batch: bool
    cut: Cut
    done: bytes = b""

    @property
    def record_bytes(self) -> int:
        """How long a record is."""
        return layout(is_batch=self.is_batch).size

    def fields(self) -> dict[str, str]:
        """Return the fields of the job that tell how its records lie."""
        return {
            "total": str(self.cut.num_runs),
            "shards": str(self.cut.num_shards),
            "record_bytes": str(self.record_bytes),
        }

    def is_done(self, shard: int) -> bool:
        """Tell whether a shard has written its records."""
        byte, bit = divmod(shard, 8)
        return byte < len(self.done) and bool(self.done[byte] >> (7 - bit) & 1)

    def stretches(self, runs: range | None = None) -> Iterator[tuple[bool, range]]:
        """Yield some runs, or all, as stretches whose shards are done or not."""
        runs = range(self.cut.num_runs) if runs is None else runs
        if not runs:
            return
        shards = range(self.cut.shard_of(runs.start), self.cut.shard_of(runs.stop - 1) + 1)
        for is_done, group in groupby(shards, key=self.is_done):
            same = list(group)
            first, stop = self.cut.runs_of(same[0]).start, self.cut.runs_of(same[-1]).stop
            yield is_done, range(max(first, runs.start), min(stop, runs.stop))

    def mend(self, raw: bytes, runs: range) -> bytes:
        """Return the records of some runs; those that are not there were never made.

        Args:
            raw: What the store has of them: zeros where a later shard was faster, or less.
            runs: Which, all below cut.num_runs.
        """
        size = self.record_bytes
        return b"".join(
            raw[(part.start - runs.start) * size : (part.stop - runs.start) * size]
            if is_done
            else never_made(len(part), is_batch=self.is_batch)
            for is_done, part in self.stretches(runs)
        )


def decode_shelf(reply: Sequence[Any]) -> Shelf | None:
    """Read what the scripts tell of a job's records; None when no run has begun.

    Args:
        reply: Kind, number of runs, number of shards, which of them are done.
    """
    kind, num_runs, num_shards, done = reply
    if int(num_runs) < 0:
        return None
    cut = Cut(num_runs=int(num_runs), num_shards=int(num_shards))
    return Shelf(is_batch=kind == b"batch", cut=cut, done=done)


def mend_all(shelf: Shelf | None, raw: Sequence[bytes], runs: Sequence[range]) -> list[bytes]:
    """Return one string of records for each range of runs; shorter where the job has no more."""
    if shelf is None:
        return [b""] * len(runs)
    last = shelf.cut.num_runs
    return [
        shelf.mend(part, range(min(asked.start, last), min(asked.stop, last)))
        for part, asked in zip(raw, runs, strict=True)
    ]
