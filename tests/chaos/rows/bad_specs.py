"""Bodies that no job can be made of: hostile ones, and the mistakes that people make."""

from collections.abc import Mapping
from typing import Final, cast

BAD_SPECS: Final[Mapping[str, bytes]] = {
    name: body if isinstance(body, bytes) else body.encode()
    for name, body in cast(
        "dict[str, str | bytes]",
        {
            "lr NaN": '{"optimizer": {"name": "sgd", "lr": NaN}}',
            "lr Infinity": '{"optimizer": {"name": "sgd", "lr": Infinity}}',
            "lr 1e400": '{"optimizer": {"name": "sgd", "lr": 1e400}}',
            "lr negative": '{"optimizer": {"name": "sgd", "lr": -0.1}}',
            "lr a word": '{"optimizer": {"name": "sgd", "lr": "fast"}}',
            "steps 0": '{"steps": 0}',
            "steps negative": '{"steps": -5}',
            "steps true": '{"steps": true}',
            "steps a text": '{"steps": "10"}',
            "steps a fraction": '{"steps": 10.5}',
            "steps 1e12": '{"steps": 1000000000000}',
            "points 1e10": '{"data": {"generate": {"n": 10000000000}}}',
            "points none": '{"data": {"x": [], "y": []}}',
            "points ragged": '{"data": {"x": [0, 1, 2], "y": [1]}}',
            "points nested": '{"data": {"x": [[0], [1]], "y": [1, 2]}}',
            "points NaN": '{"data": {"x": [0, NaN], "y": [1, 2]}}',
            "points huge": '{"data": {"x": [0, 1e200], "y": [1, 2]}}',
            "points too large for float32": '{"data": {"x": [0, 1e39], "y": [1, 2]}, "dtype": "float32"}',
            "points of a job that never was": '{"data": {"job": "never-was"}}',
            "a field misspelt": '{"stpes": 10}',
            "a field twice": '{"steps": 10, "steps": 20}',
            "an optimizer that is none": '{"optimizer": "adamm"}',
            "a hyperparameter of another": '{"optimizer": {"name": "sgd", "betas": [0.9, 0.99]}}',
            "a batch of nothing": '{"batch_size": 0}',
            "a seed below zero": '{"seed": -1}',
            "a device that is none": '{"device": "tpu"}',
            "a tag of 5 MB": '{"tags": {"a": "' + "x" * 5_000_000 + '"}}',
            "half a surrogate": '{"name": "\\ud800"}',
            "a NUL": '{"name": "a\\u0000b"}',
            "nested a thousand deep": "[" * 1_000 + "]" * 1_000,
            "an integer of 5,000 digits": '{"steps": ' + "9" * 5_000 + "}",
            "no JSON": '{"steps": 10',
            "a bare number": '{"data": 5}',
            "no UTF-8": b'{"name": "\xff\xfe"}',
            "a body of 9 MB": '{"name": "' + "x" * 9_000_000 + '"}',
        },
    ).items()
}
"""What is wrong -> what is sent."""
