"""Where a job runs: from the device that its spec asks for and the workers that live to a queue."""

from typing import Final

from app.domain.engines import looks_at_every_point
from app.domain.errors import DeviceUnavailable
from app.domain.job import Warn, WorkerInfo
from app.domain.kinds import AnySpec
from app.domain.result import DeviceUsed

CUDA_PAYS_FROM_POINTS: Final = 200_000
"""Below, the launches of a step's kernels cost more than a CPU core's whole step (estimate).

Where a step has a closed form it costs the same for any number of points, and less than a launch.
"""

_RETRY_DEVICE_SECONDS: Final = 30


def may_want_cuda(spec: AnySpec, points: int) -> bool:
    """Tell whether the choice depends on which workers live."""
    if spec.device == "auto":
        return points >= CUDA_PAYS_FROM_POINTS and looks_at_every_point(spec)
    return spec.device != "cpu"


def choose_device(spec: AnySpec, points: int, workers: tuple[WorkerInfo, ...]) -> DeviceUsed:
    """Route a spec.

    Args:
        spec: What to run.
        points: How many points its data have.
        workers: Those that live; looked at only where may_want_cuda says so.

    Raises:
        DeviceUnavailable: The spec demands a device that no live worker has.
    """
    if spec.device == "cpu":
        return DeviceUsed(requested="cpu", queue="cpu", reason="the spec says cpu")
    if not may_want_cuda(spec, points):
        return DeviceUsed(requested="auto", queue="cpu", reason=_why_cpu(points))
    has_cuda = any(_has_device(worker, spec.device) for worker in workers)
    if spec.device == "auto":
        queue, reason = (
            ("cuda", f"{points} points are faster on cuda")
            if has_cuda
            else ("cpu", "no cuda worker is live")
        )
        return DeviceUsed(requested="auto", queue=queue, reason=reason)
    if has_cuda:
        return DeviceUsed(requested=spec.device, queue="cuda", reason="the spec says cuda")
    if spec.if_unavailable == "cpu":
        reason = 'no cuda worker is live and the spec says "if_unavailable": "cpu"'
        return DeviceUsed(requested=spec.device, queue="cpu", reason=reason)
    if spec.if_unavailable == "queue":
        reason = "the spec says cuda; it waits until a cuda worker comes"
        return DeviceUsed(requested=spec.device, queue="cuda", reason=reason)
    raise DeviceUnavailable(
        f"No live worker has {spec.device}: start a cuda worker, or send "
        '"if_unavailable": "queue" to wait for one, or "cpu" to run there',
        retry_after_seconds=_RETRY_DEVICE_SECONDS,
    )


def _why_cpu(points: int) -> str:
    if points >= CUDA_PAYS_FROM_POINTS:
        return f"steps in closed form are faster on cpu, also with {points} points"
    return f"{points} points are faster on cpu" if points > 1 else "one point runs on cpu"


def _has_device(worker: WorkerInfo, wanted: str) -> bool:
    """Tell whether a worker has a GPU, or that very one when the spec names it (cuda:N)."""
    names = {device.split()[0] for device in worker.devices}
    return worker.queue == "cuda" and (wanted in names if ":" in wanted else bool(names))


def device_warnings(device: DeviceUsed) -> tuple[Warn, ...]:
    """Return what the author of a spec should know of where it runs."""
    if device.requested.startswith("cuda") and device.queue == "cpu":
        return (Warn(code="device-fell-back", message=f"Runs on cpu: {device.reason}"),)
    return ()
