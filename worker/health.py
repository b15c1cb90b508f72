"""`python -m worker.health`: fails unless a worker of this machine has announced itself lately.

For a container's health check. It asks the store, not Celery: a worker that lives but no longer
reaches Redis is not healthy.
"""

import asyncio
import socket
import sys

from app.domain.errors import StoreUnavailable
from app.settings import Settings
from app.store.connect import connect_async
from app.store.jobs import JobStore


async def is_announced(settings: Settings, *, url: str, host: str) -> bool:
    """Tell whether a live worker of a host is known to the store.

    Args:
        settings: Name the namespace and the timeout.
        url: The Redis that holds the jobs.
        host: First part of the worker's name.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    async with connect_async(settings, url) as redis:
        workers = await JobStore(redis, settings).workers()
    # A name is host-pid-queue, and a host's own name may have dashes.
    return any(worker.name.rsplit("-", 2)[0] == host for worker in workers)


def main() -> int:
    """Return the exit status: 0 healthy, 1 not."""
    settings = Settings()
    host = socket.gethostname()
    try:
        if asyncio.run(is_announced(settings, url=settings.redis_url or "", host=host)):
            return 0
    except StoreUnavailable as away:
        sys.stderr.write(f"{away.detail}\n")
    else:
        sys.stderr.write(f"no worker of {host} has announced itself lately\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
