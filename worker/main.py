"""The Celery worker: `celery -A worker.main worker --queues cpu`; hears signals, starts recovery.

Run it with --without-gossip --without-mingle --without-heartbeat: workers here share nothing
but the store.
"""

import logging
import threading
from typing import Any, Final

from celery import Celery, Task, signals

from app import log
from app.domain.errors import StoreUnavailable
from app.queue import QUEUES, TASK_NAME, broker_url, celery_settings, make_queue, send_wake
from app.store.connect import connect_sync
from app.store.recovery import Recovery
from worker import tasks
from worker.engine.torch_engine import warm

app: Final = Celery("fitjobs", broker=broker_url(tasks.redis_url()))
app.conf.update(celery_settings(tasks.settings()))
app.conf.update(
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
)

_LOG = logging.getLogger(__name__)

_SERVED: list[str] = []
_OVER: Final = threading.Event()


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
    _SERVED[:] = [name for name in QUEUES if name in app.amqp.queues.consume_from]
    warm()


@signals.worker_process_init.connect
def _open_desks(**_: object) -> None:
    for queue in _SERVED:
        tasks.open_desk(queue)


@signals.worker_process_shutdown.connect
def _close_desks(**_: object) -> None:
    tasks.close_desks()


@signals.worker_ready.connect
def _start_recovery(**_: object) -> None:
    threading.Thread(target=_recover, name="recovery", daemon=True).start()


@signals.worker_shutting_down.connect
def _drain(**_: object) -> None:
    tasks.drain()
    _OVER.set()


def _recover() -> None:
    """Put lost jobs back and send missing wake-ups until this worker stops."""
    settings = tasks.settings()
    recovery = Recovery(connect_sync(settings, tasks.redis_url()), settings)
    queue = make_queue(settings, tasks.redis_url())
    while not _OVER.wait(settings.recovery_seconds):
        try:
            repairs = recovery.round()
        except StoreUnavailable:
            continue
        except Exception:  # noqa: BLE001  # the top of a thread that must not end
            # Nobody else would put lost jobs back.
            _LOG.exception("recovery.crashed")
            continue
        for name, missing in repairs.wake_ups.items():
            for _ in range(missing):
                send_wake(queue, name)
