"""Every resource of the service, in the order in which the reference lists them."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from app.api import (
    charts,
    create,
    data,
    discovery,
    events,
    health,
    history,
    jobs,
    listing,
    optimizers,
    presets,
    problems,
    reference,
    reproduce,
    runs,
    stream,
    workers,
)

ROUTERS: Final[Sequence[APIRouter]] = (
    discovery.router,
    create.router,
    listing.router,
    jobs.router,
    history.router,
    data.router,
    runs.router,
    events.router,
    stream.router,
    charts.router,
    reproduce.router,
    optimizers.router,
    presets.router,
    workers.router,
    problems.router,
    health.router,
    reference.router,
)
