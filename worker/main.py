"""The Celery worker: `celery -A worker.main worker --queues cpu`; hears signals, starts recovery.

A parent forks children: the parent consumes messages, does recovery rounds and keeps a watchdog,
the children run jobs. Run it with --without-gossip --without-mingle --without-heartbeat: workers
here share nothing but the store.
"""

import os
import signal
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from celery import Celery, Task, signals

from app import log
from app.queue import QUEUES, TASK_NAME, celery_settings, send_wake
from app.store.connect import connect_sync
from app.store.rounds import RecoveryThread
from app.store.wake_ups import WakeUps
from worker import tasks
from worker.builder import Builder
from worker.engine.torch_engine import warm
from worker.memory import bound_memory
from worker.pulse import has_ended
from worker.watchdog import Watchdog

LEAVE_SECONDS: Final = 12.0
"""A child hands its job back within two, or waits so long for a Redis that is away."""

app: Final = Celery("fitjobs")
app.conf.update(celery_settings(tasks.settings(), tasks.redis_url()))
app.conf.update(
    worker_consumer="worker.consumer:Consumer",
    # The message is only a wake-up: a lost one is replaced, so it may be acknowledged at once.
    task_acks_late=False,
    # Nothing is reserved, so nothing is parked; kombu 5.7 also survives a Redis restart this way.
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_max_memory_per_child=tasks.settings().worker_max_memory_bytes // 1024,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A primary that becomes a replica cuts every BRPOP short with an error of its own, and answers
    # READONLY from then on: look for the new primary, do not die.
    broker_channel_error_retry=True,
)

_SERVED: list[str] = []
_THREADS: list[RecoveryThread | Watchdog | Builder] = []


@app.task(name=TASK_NAME, bind=True)
def wake(self: "Task[Any, None]") -> None:
    """Serve the queue that this message came through."""
    queue = str((self.request.delivery_info or {}).get("routing_key"))
    if queue in QUEUES and tasks.open_desk(queue).serve():
        send_wake(app, queue)


@signals.setup_logging.connect
def _configure_logging(**_: object) -> None:
    log.configure(form=tasks.settings().log_format, level=tasks.settings().log_level)


@signals.celeryd_after_setup.connect
def _before_fork(**_: object) -> None:
    """Learn which queues this worker serves and load what every child would load again."""
    tasks.set_starting(True)
    _SERVED[:] = [name for name in QUEUES if name in app.amqp.queues.consume_from]
    tasks.kernels().load_all()
    warm(tasks.kernels())


@signals.worker_process_init.connect
def _open_desks(**_: object) -> None:
    if "cuda" not in _SERVED:
        bound_memory(tasks.settings().worker_max_memory_bytes)
    for queue in _SERVED:
        tasks.open_desk(queue)


@signals.worker_process_shutdown.connect
def _close_desks(**_: object) -> None:
    tasks.close_desks()


@signals.worker_ready.connect
def _start_threads(**_: object) -> None:
    """Begin what goes on beside the jobs; Celery says so once, at its first connection."""
    settings, url = tasks.settings(), tasks.redis_url()
    redis = connect_sync(settings, url)
    rounds = RecoveryThread(redis, settings=settings, wake=partial(send_wake, app))
    wake_ups = WakeUps(connect_sync(settings, url), settings)
    watchdog = Watchdog(
        tasks.PULSES,
        count_waiting=lambda: sum(wake_ups.count(queue) for queue in _SERVED),
        stall_seconds=settings.stall_seconds,
        leave=_leave,
    )
    _THREADS.extend((rounds, watchdog))
    if tasks.kernels().missing:
        _THREADS.append(Builder(settings.kernel_dir))
    for thread in _THREADS:
        thread.start()
    # Last: whoever hears of this worker sends a job, which is taken when all of this is done.
    tasks.set_starting(False)


@signals.worker_shutting_down.connect
def _drain(**_: object) -> None:
    if tasks.is_draining():
        # A second signal may arrive while the first one's handler holds a lock below.
        return
    tasks.drain()
    for thread in _THREADS:
        thread.end()


def _leave() -> None:
    """End this pool from a thread, because its main thread can no longer be asked to.

    The status says that a supervisor should start it anew. It does not start itself anew: whatever
    has gone wrong in this process is gone for certain only with the process.
    """
    tasks.drain()
    until = time.monotonic() + LEAVE_SECONDS
    while tasks.PULSES.at_work() and time.monotonic() < until:
        time.sleep(0.05)
    for child in tasks.PULSES.signed():
        # Linux kills them with their parent; elsewhere they would stay.
        if not has_ended(child.pid):
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
    os._exit(os.EX_TEMPFAIL)
