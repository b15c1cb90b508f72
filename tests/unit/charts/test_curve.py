"""The Vega-Lite spec says what the rows say."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest

from app.charts.curve import HEIGHT, SCHEMA, WIDTH, Json, loss_chart
from app.charts.image import render_svg
from app.charts.series import Curve, Scale
from tests.unit.charts.make import Make

SVG = "{http://www.w3.org/2000/svg}"


def draw(curves: Sequence[Curve], **options: Any) -> Json:
    return loss_chart(curves, **({"title": "y = x", "subtitle": "Adam on classic"} | options))


def layers_of(spec: Json, mark: str) -> list[Json]:
    return [layer for layer in spec["layer"] if layer["mark"]["type"] == mark]


def lines_of(spec: Json) -> list[Json]:
    """Return the layers that draw histories, not the leaders to labels."""
    return [layer for layer in layers_of(spec, "line") if "strokeDash" in layer["encoding"]]


def labels_of(spec: Json) -> list[Json]:
    return [
        value
        for layer in layers_of(spec, "text")
        for value in layer["data"]["values"]
        if "text" in value
    ]


def texts_in(svg: bytes) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  # our own


def test_spec_is_json_with_its_data_inside(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([1.0, math.nan, math.inf, 0.0, 1e-9])])

    assert orjson.loads(orjson.dumps(spec)) == spec
    assert "NaN" not in repr(orjson.dumps(spec))
    assert spec["$schema"] == SCHEMA
    assert "url" not in repr(spec["layer"])


def test_log_axis_is_a_log_scale_between_powers_of_ten(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([0.3, 2e-6])])
    y = lines_of(spec)[0]["encoding"]["y"]

    assert (y["scale"]["type"], y["scale"]["domain"]) == ("log", [1e-6, 1.0])
    assert y["field"] == "excess_loss"
    assert y["axis"]["title"].startswith("excess loss")


def test_loss_without_excess_loss_is_named_loss(make_curve: Make[Curve]) -> None:
    y = lines_of(draw([make_curve([0.3, 0.2], with_excess=False)]))[0]["encoding"]["y"]

    assert (y["field"], y["axis"]["title"]) == ("loss", "loss")


def test_svg_labels_the_powers_of_ten_evenly_and_downwards(make_curve: Make[Curve]) -> None:
    svg = render_svg(draw([make_curve([10.0 ** (-k / 10) for k in range(81)])])).decode()
    found = re.findall(r'translate\(([-\d.]+),([-\d.]+)\)"[^>]*>(1e[+-]\d+)<', svg)
    places = {int(label[2:]): float(y) for _, y, label in found}

    assert sorted(places) == list(range(-8, 1))
    gaps = [places[k] - places[k + 1] for k in range(-8, 0)]
    assert gaps == pytest.approx([HEIGHT / 8] * 8, abs=1.0)


def test_svg_draws_exponential_decay_as_a_straight_falling_line(make_curve: Make[Curve]) -> None:
    svg = render_svg(draw([make_curve([10.0 ** (-k / 25) for k in range(101)])])).decode()
    path = max(re.findall(r'd="(M[-\d.,L]+)"', svg), key=len)
    points = [tuple(map(float, pair.split(","))) for pair in re.split("[ML]", path)[1:]]

    assert len(points) == 101
    for k, (x, y) in enumerate(points):
        assert x == pytest.approx(WIDTH * k / 100, abs=0.01)
        assert y == pytest.approx(HEIGHT * k / 100, abs=0.01)


def test_svg_carries_title_subtitle_labels_and_note(make_curve: Make[Curve]) -> None:
    curves = [make_curve([1.0, 0.1]), make_curve([1.0, 0.5], label="SGD lr 0.1", color_index=1)]
    texts = texts_in(render_svg(draw(curves, title="y = 2·x", subtitle="asked <this> & that")))

    assert {"y = 2·x", "asked <this> & that", "Adam", "SGD lr 0.1"} <= set(texts)
    assert "SGD lr 0.1\u20020.5" in texts
    assert "showing 2 of 2 steps" in texts


def test_zeros_stand_as_triangles_on_the_floor_and_break_the_line(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([1.0, 1e-3, 0.0, 0.0, 0.0, 1e-4, 1e-5])])
    values = lines_of(spec)[0]["data"]["values"]
    events = next(layer for layer in spec["layer"] if "shape" in layer["encoding"])

    assert [value["excess_loss"] for value in values] == [1.0, 1e-3, None, None, None, 1e-4, 1e-5]
    assert [(v["step"], v["event"], v["pixel"]) for v in events["data"]["values"]] == [
        (2, "exact 0", HEIGHT),
        (4, "exact 0", HEIGHT),
    ]
    assert "exact 0" in texts_in(render_svg(spec))


def test_nothing_with_a_value_touches_the_floor_of_the_zeros(make_curve: Make[Curve]) -> None:
    y = lines_of(draw([make_curve([1.0, 1e-5, 0.0])]))[0]["encoding"]["y"]

    assert y["scale"]["domain"][0] == 1e-6
    assert 1e-6 not in y["axis"]["values"]


def test_nonfinite_steps_are_crosses_on_the_ceiling(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([1.0, 1e3, math.inf, math.nan])])
    events = next(layer for layer in spec["layer"] if "shape" in layer["encoding"])
    domain = lines_of(spec)[0]["encoding"]["y"]["scale"]["domain"]

    assert [(v["step"], v["event"], v["pixel"]) for v in events["data"]["values"]] == [
        (2, "not finite", 0),
        (3, "not finite", 0),
    ]
    assert domain == [1.0, 1e4]
    assert "not finite" in texts_in(render_svg(spec))


def test_a_point_without_neighbours_is_seen(make_curve: Make[Curve]) -> None:
    svg = render_svg(draw([make_curve([0.5])])).decode()

    assert 'aria-roledescription="point"' in svg


def test_legend_needs_two_curves(make_curve: Make[Curve]) -> None:
    one, two = make_curve([1.0]), make_curve([2.0], label="SGD", color_index=1)

    assert lines_of(draw([one]))[0]["encoding"]["color"]["legend"] is None
    assert lines_of(draw([one, two]))[0]["encoding"]["color"]["legend"] is not None


def test_curves_keep_their_colour_when_another_is_missing(make_curve: Make[Curve]) -> None:
    color = lines_of(draw([make_curve([1.0], color_index=2)]))[0]["encoding"]["color"]

    assert color["scale"]["range"] == ["#009E73"]


def test_labels_at_line_ends_never_overlap(make_curve: Make[Curve]) -> None:
    curves = [make_curve([1.0, 1e-3 * i], label=f"run {i}", color_index=i) for i in range(64)]
    places = sorted(label["down"] for label in labels_of(draw(curves)))

    assert len(places) == 64
    assert all(b - a >= 15.99 for a, b in pairwise(places))
    assert places[0] >= 0


def test_labels_stand_at_the_heights_of_their_curves(make_curve: Make[Curve]) -> None:
    curves = [
        make_curve([1.0, 1e-2], label="high"),
        make_curve([1.0, 1e-4], label="low", color_index=1),
    ]
    places = {label["run"]: label["down"] for label in labels_of(draw(curves))}

    assert places == pytest.approx({"high": HEIGHT / 2, "low": HEIGHT})


def test_restless_curves_lie_thin_below_the_calm_ones(make_curve: Make[Curve]) -> None:
    restless = make_curve([10.0 ** (-(k % 2) * 6) for k in range(100)], label="restless")
    calm = make_curve([10.0 ** (-k / 20) for k in range(100)], label="calm", color_index=1)
    below, above = lines_of(draw([calm, restless]))

    assert {value["run"] for value in below["data"]["values"]} == {"restless"}
    assert below["mark"]["strokeWidth"] < 2
    assert {value["run"] for value in above["data"]["values"]} == {"calm"}


def test_thinned_picture_says_how_many_steps_it_shows(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([1.0 / (k + 1) for k in range(5_001)])])
    shown = len(lines_of(spec)[0]["data"]["values"]) - 1
    note = layers_of(spec, "text")[-1]["data"]["values"][0]["note"]

    assert shown <= 1_000
    assert note == f"showing {shown:,} of 5,000 steps, extremes kept"


def test_linear_scale_starts_at_zero_and_draws_zero(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([4.0, 0.0])], scale="linear")
    y = lines_of(spec)[0]["encoding"]["y"]

    assert y["scale"] == {"type": "linear", "domain": [0.0, 4.0], "nice": False, "zero": False}
    assert [value["excess_loss"] for value in lines_of(spec)[0]["data"]["values"]] == [4.0, 0.0]


def test_log_abscissa_has_a_place_for_step_zero(make_curve: Make[Curve]) -> None:
    spec = draw([make_curve([1.0 / (k + 1) for k in range(1_001)])], x="log")
    x = lines_of(spec)[0]["encoding"]["x"]

    assert (x["scale"]["type"], x["scale"]["constant"]) == ("symlog", 1)
    assert x["axis"]["values"] == [0, 1, 10, 100, 1000]


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.5],
        [0.0],
        [0.0, 0.0],
        [math.nan],
        [7.0] * 20,
        [-3.0, -2.0],
        [5e-324, 1e-300, 1.0, 1e300, 1.7e308],
        [math.inf, 0.0, 1.0],
    ],
)
def test_every_history_gives_a_picture(
    make_curve: Make[Curve], values: list[float], scale: Scale
) -> None:
    texts = texts_in(render_svg(draw([make_curve(values)], scale=scale)))

    assert "y = x" in texts


def test_no_curve_gives_an_empty_frame() -> None:
    assert "no step yet" in texts_in(render_svg(draw([])))
