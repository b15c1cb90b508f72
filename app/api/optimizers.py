"""GET /v1/optimizers, /v1/schedulers: everything that a spec may name, with its bounds."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request

from app.api.address import base_of
from app.api.answer import Answer
from app.api.errors import responses
from app.domain.catalogue import (
    AUTO_LR_OPTIMIZERS,
    OPTIMIZERS,
    SCHEDULERS,
    TORCH_VERSION,
    canonical_name,
    hyperparameter_class,
)
from app.domain.errors import NotFound, Unauthorized

Kind = Literal["optimizers", "schedulers"]

router = APIRouter(tags=["catalogue"])

_CATALOGUES: Final[Mapping[Kind, Mapping[str, Mapping[str, Any]]]] = {
    "optimizers": OPTIMIZERS,
    "schedulers": SCHEDULERS,
}
_Name = Annotated[str, Path(description="Torch's name, in any case", examples=["Adam"])]


@router.get("/v1/optimizers", summary="List the optimizers", responses=responses(Unauthorized))
async def list_optimizers() -> Answer:
    """Return every optimizer of torch.optim with its hyperparameters, defaults and bounds."""
    return Answer(_list("optimizers"))


@router.get(
    "/v1/optimizers/{name}",
    summary="Describe an optimizer",
    responses=responses(NotFound, Unauthorized),
)
async def read_optimizer(request: Request, name: _Name) -> Answer:
    """Return one optimizer with the JSON Schema of its hyperparameters and a command to try."""
    described = describe(find(name, "optimizers"), "optimizers")
    name = described["name"]
    command = f"curl -d optimizer={name.lower()} {base_of(request)}/fit"
    return Answer({**described, "json_schema": schema_of(name, "optimizers"), "try": command})


@router.get("/v1/schedulers", summary="List the schedulers", responses=responses(Unauthorized))
async def list_schedulers() -> Answer:
    """Return every learning-rate scheduler that a spec may name."""
    return Answer(_list("schedulers"))


@router.get(
    "/v1/schedulers/{name}",
    summary="Describe a scheduler",
    responses=responses(NotFound, Unauthorized),
)
async def read_scheduler(name: _Name) -> Answer:
    """Return one scheduler with the JSON Schema of its hyperparameters."""
    described = describe(find(name, "schedulers"), "schedulers")
    return Answer({**described, "json_schema": schema_of(described["name"], "schedulers")})


def find(name: str, kind: Kind) -> str:
    """Return torch's spelling of a name.

    Raises:
        NotFound: Torch has no such class; the detail names the nearest.
    """
    known = canonical_name(name, kind)
    if known is not None:
        return known
    folded = {entry.casefold(): entry for entry in _CATALOGUES[kind]}
    near = difflib.get_close_matches(name[:60].casefold(), folded, n=1)
    ending = f": did you mean {folded[near[0]]}?" if near else f": GET /v1/{kind} lists them all"
    raise NotFound(f'Torch has no {kind.removesuffix("s")} "{name[:60]}"{ending}')


def describe(name: str, kind: Kind) -> dict[str, Any]:
    """Return one entry of the catalogue as clients see it.

    Args:
        name: Torch's own spelling.
        kind: Which part of the catalogue.
    """
    entry = _CATALOGUES[kind][name]
    described: dict[str, Any] = {
        "object": kind.removesuffix("s"),
        "name": name,
        "reference": entry["reference"],
        "hyperparameters": entry["hyperparameters"],
        "links": {"self": f"/v1/{kind}/{name}"},
    }
    if kind == "optimizers":
        described["lr_auto"] = name in AUTO_LR_OPTIMIZERS
    return described


def schema_of(name: str, kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of the object that a spec holds: the name and its hyperparameters.

    Args:
        name: Torch's own spelling.
        kind: Which part of the catalogue.
    """
    schema = hyperparameter_class(name, kind).model_json_schema()
    properties = {"name": {"const": name}, **schema["properties"]}
    required = ["name", *schema.get("required", ())]
    return {**schema, "properties": properties, "required": required}


def _list(kind: Kind) -> dict[str, Any]:
    items = [describe(name, kind) for name in _CATALOGUES[kind]]
    return {"object": "list", "torch": TORCH_VERSION, "items": items}
