"""Every resource of the service, in the order in which the reference lists them."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from app.api import discovery, health, optimizers, presets, problems, workers

ROUTERS: Final[Sequence[APIRouter]] = (
    discovery.router,
    optimizers.router,
    presets.router,
    workers.router,
    problems.router,
    health.router,
)
