"""The peer of the service: FastAPI and Celery as the usual tutorial puts them together.

The broker is the result backend too; a task is a small torch loop and returns its history. Nothing
is tuned and nothing is left out that a tutorial has.
"""

# pyright: basic
# mypy: disable-error-code="untyped-decorator"

import os
from typing import Any, Final

import torch
from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel

_URL: Final = os.environ.get("TEMPLATE_REDIS_URL", "redis://127.0.0.1:6379/0")

celery: Any = Celery("template", broker=_URL, backend=_URL)


class FitRequest(BaseModel):
    """What to fit.

    Attributes:
        steps: Optimizer steps.
        lr: Learning rate.
    """

    steps: int = 1500
    lr: float = 0.001


class Job(BaseModel):
    """The answer to a submit."""

    id: str
    status: str


class Fit(BaseModel):
    """The answer to a fit that was waited for."""

    a: float
    b: float
    history: list[float]


@celery.task(name="template.fit")
def fit_line(steps: int, lr: float) -> dict[str, Any]:
    """Fit y = x with a torch.nn.Linear, full batch."""
    torch.manual_seed(0)
    x = torch.randn(1000, 1)
    y = x.clone()
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        torch.autograd.backward(loss)
        optimizer.step()
        history.append(loss.item())
    return {"a": model.weight.item(), "b": model.bias.item(), "history": history}


@celery.task(name="template.nothing")
def do_nothing() -> None:
    """Cost what Celery alone costs."""


app = FastAPI()


@app.get("/ready")
def ready() -> dict[str, str]:
    """Tell that the process serves."""
    return {"status": "ready"}


@app.post("/jobs")
def create_job(request: FitRequest) -> Job:
    """Queue a fit and answer at once."""
    result = fit_line.delay(request.steps, request.lr)
    return Job(id=result.id, status="queued")


@app.post("/nothing")
def create_nothing() -> Job:
    """Queue a task that does nothing."""
    result = do_nothing.delay()
    return Job(id=result.id, status="queued")


@app.post("/fit")
def fit(request: FitRequest) -> Fit:
    """Queue a fit and answer with its result."""
    return Fit(**fit_line.delay(request.steps, request.lr).get(timeout=30))
