"""A run's state <-> bytes: JSON with tensors in it, versioned and sealed; no code is ever loaded.

It knows what torch.optim keeps, and neither the loops nor where the bytes are stored.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, cast

import torch
from torch import Tensor

from app.domain.errors import CheckpointUnusable

MAX_BYTES: Final = 1024 * 1024
"""The largest real one, LBFGS with 1,000 remembered steps, has about 250 kB; most have 1 to 10."""

_MAGIC: Final = b"fitjobs run 1\n"
"""Count up when the meaning of a field changes: a state of another version is refused."""
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_DTYPES: Final = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool)
}


def place_of(device: torch.device, *, engine: str = "torch") -> str:
    """Return all that the bits of a run depend on beside its spec, as a sentence can name it.

    Args:
        device: Where it runs.
        engine: Name of the engine that computes its steps.
    """
    computed_by = "the torch loop" if engine == "torch" else f"the {engine} engine"
    processor = (
        f"cpu {torch.backends.cpu.get_cpu_capability()}"
        if device.type == "cpu"
        else f"{device.type} {torch.cuda.get_device_name(device)}"
    )
    return f"{computed_by} of torch {torch.__version__} on {processor}"


def seal(state: Mapping[str, object], *, place: str) -> bytes | None:
    """Return a state as bytes, None when that would be more than MAX_BYTES.

    Args:
        state: None, numbers, texts, tensors, and lists, tuples and dictionaries of these.
        place: Where the run computes, as `place_of` says it.
    """
    body = json.dumps({"place": place, "state": _encode(state)}).encode()
    sealed = _MAGIC + hashlib.sha256(body).digest() + body
    return sealed if len(sealed) <= MAX_BYTES else None


def unseal(sealed: bytes, *, place: str, device: torch.device) -> dict[str, Any]:
    """Read what `seal` wrote; every tensor is new.

    Args:
        sealed: The bytes.
        place: Where the run will compute.
        device: Its device: what was there is put there again.

    Raises:
        CheckpointUnusable: Of another version or place, too large, or damaged.
    """
    content = _read(sealed)
    if content["place"] != place:
        raise CheckpointUnusable(
            f"the checkpoint was made by {content['place']}, and this is {place}"
        )
    state: dict[str, Any] = _decode(content["state"], device)
    return state


def _read(sealed: bytes) -> dict[str, Any]:
    """Return what the bytes hold, still encoded."""
    magic, rest = sealed[: len(_MAGIC)], sealed[len(_MAGIC) :]
    digest, body = rest[:_DIGEST_BYTES], rest[_DIGEST_BYTES:]
    if magic != _MAGIC:
        raise CheckpointUnusable("the checkpoint was written in a format of another version")
    if len(sealed) > MAX_BYTES or hashlib.sha256(body).digest() != digest:
        raise CheckpointUnusable("the checkpoint is damaged")
    content: dict[str, Any] = json.loads(body)
    return content


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Return what an optimizer remembers: a state for every parameter, the options of each group.

    Not Optimizer.state_dict, because load_state_dict shares the tensors and casts some of them.
    """
    return {
        "parameters": [optimizer.state.get(part) for part in _parameters(optimizer)],
        "groups": [_options(group) for group in optimizer.param_groups],
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put a state back into an optimizer that was made of the same spec."""
    for part, remembered in zip(_parameters(optimizer), state["parameters"], strict=True):
        if remembered is not None:
            optimizer.state[part] = remembered
    for group, options in zip(optimizer.param_groups, state["groups"], strict=True):
        group.update(options)


def parameter_state(parameters: Iterable[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """Return every parameter and its gradient, which lives on where it is never set to zero."""
    return [(part.detach(), part.grad) for part in parameters]


def restore_parameters(
    parameters: Iterable[Tensor], state: Iterable[tuple[Tensor, Tensor | None]]
) -> None:
    """Put parameters and gradients back."""
    with torch.no_grad():
        for part, (value, gradient) in zip(parameters, state, strict=True):
            part.copy_(value)
            part.grad = gradient


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return list(chain.from_iterable(group["params"] for group in optimizer.param_groups))


def _options(group: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in group.items() if name != "params"}


def _encode(value: object) -> object:
    """Return a value as JSON can say it; what JSON has no word for is an object with one key."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            return _encode_tensor(value)
        case list():
            return [_encode(item) for item in cast("list[object]", value)]
        case tuple():
            return {"tuple": [_encode(part) for part in cast("tuple[object, ...]", value)]}
        case dict():
            named = cast("dict[object, object]", value)
            return {"dict": [[key, _encode(item)] for key, item in named.items()]}
        case _:
            raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def _encode_tensor(tensor: Tensor) -> object:
    if tensor.is_sparse:
        # An accumulated gradient need not be coalesced; its order of addition is kept.
        parts = (tensor._indices(), tensor._values())  # noqa: SLF001  # indices() wants it coalesced
        return {"sparse": [*map(_encode_tensor, parts), list(tensor.shape), tensor.is_coalesced()]}
    raw = tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
    dtype = str(tensor.dtype).removeprefix("torch.")
    text = base64.b64encode(raw).decode()
    return {"tensor": [dtype, list(tensor.shape), tensor.device.type, text]}


def _decode(value: Any, device: torch.device) -> Any:  # noqa: ANN401  # what JSON holds
    if isinstance(value, list):
        return [_decode(item, device) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = cast("dict[str, Any]", value).items()
    match kind:
        case "dict":
            return {key: _decode(item, device) for key, item in content}
        case "tuple":
            return tuple(_decode(item, device) for item in content)
        case "sparse":
            indices, values = (_decode(part, device) for part in content[:2])
            make = cast("Any", torch).sparse_coo_tensor  # its own types are partly unknown
            return make(indices, values, content[2], is_coalesced=content[3], check_invariants=True)
        case _:
            return _decode_tensor(content, device)


def _decode_tensor(content: Any, device: torch.device) -> Tensor:  # noqa: ANN401  # what JSON holds
    dtype, shape, place, text = content
    raw = torch.tensor(list(base64.b64decode(text)), dtype=torch.uint8)
    # Some state of a run on a GPU is kept on the CPU: counters of steps, generators.
    return raw.view(_DTYPES[dtype]).reshape(shape).to("cpu" if place == "cpu" else device)
