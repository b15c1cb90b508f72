"""The Celery worker: `celery -A worker.main worker --queues cpu`; hears signals, starts recovery.

Run it with --without-gossip --without-mingle --without-heartbeat: workers here share nothing
but the store.
"""

from functools import partial
from typing import Any, Final

from celery import Celery, Task, signals

from app import log
from app.queue import QUEUES, TASK_NAME, celery_settings, send_wake
from app.store.connect import connect_sync
from app.store.rounds import RecoveryThread
from worker import tasks
from worker.engine.torch_engine import warm

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
_ROUNDS: list[RecoveryThread] = []


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
def _start_rounds(**_: object) -> None:
    redis = connect_sync(tasks.settings(), tasks.redis_url())
    rounds = RecoveryThread(redis, settings=tasks.settings(), wake=partial(send_wake, app))
    rounds.start()
    _ROUNDS.append(rounds)


@signals.worker_shutting_down.connect
def _drain(**_: object) -> None:
    tasks.drain()
    for rounds in _ROUNDS:
        rounds.end()
