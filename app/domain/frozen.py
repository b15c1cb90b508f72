"""The base of every domain object: immutable, unknown fields refused, finite numbers only."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value; a field that does not exist is an error, never dropped."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # "10" is not 10, and true is not 1: what a client sends is what runs.
        strict=True,
        # A mistyped value must not come back in the answer (size, privacy).
        hide_input_in_errors=True,
        # Nested values are checked once, when they are made.
        revalidate_instances="never",
    )
