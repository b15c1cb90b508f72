"""The loss curve of fits and comparisons as one Vega-Lite spec with its data inside.

Pure functions of history rows: knows no job, no file format and no network.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from app.charts.axis import Axis, make_x, make_y
from app.charts.dodge import dodge
from app.charts.palette import color_of, dash_of
from app.charts.series import (
    Abscissa,
    Curve,
    Nature,
    Picture,
    Quantity,
    Scale,
    Series,
    format_value,
    make_picture,
)

Json = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH: Final = 680
HEIGHT: Final = 380
_LABEL_PITCH: Final = 16
"""Pixels from one label at the line ends to the next."""
_POINTS: Final = 1_000
"""Most points a curve: 680 pixels cannot show more than two extremes each."""
_ALL_POINTS: Final = 12_000
"""Most points a picture, so that 64 curves do not make an SVG of many megabytes."""
_ELBOW: Final = 14
_STEEP: Final = 40
"""Pixels of the line that leads from a curve's end to its label, and when it needs more room."""
_LEGEND_SYMBOL: Final = 46
_LETTER: Final = 6.5
"""Pixels of a legend's symbol with its gaps, and of a letter."""
_RESTLESS_HEIGHTS: Final = 20
"""A curve that travels this many times the height up and down is drawn thin."""
_INK: Final = "#1F2430"
_GREY: Final = "#5B6270"
_CROSS: Final = "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z"
_STEP: Final[Json] = {"field": "step", "type": "quantitative"}
_UNTIL: Final[Json] = {"x2": {"field": "until"}}
_RUN: Final[Json] = {"field": "run", "type": "nominal"}
_POINT: Final[Json] = {"type": "point", "filled": True, "opacity": 1}
_SYMBOLS: Final = {Nature.ZERO: "triangle-down", Nature.NONFINITE: _CROSS}
_AXIS_TITLES: Final = {
    "excess": "excess loss (loss above the exact minimum)",
    "loss": "loss",
}


def loss_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    subtitle: str,
    y: Quantity = "excess",
    scale: Scale = "log",
    x: Abscissa = "step",
) -> Json:
    """Return the picture of some histories as a Vega-Lite 6 spec.

    A log axis has no place for zero: rows whose loss is exactly 0 (or below) stand as triangles on
    its floor, rows that are not finite as crosses on its ceiling; the line breaks at both.

    Args:
        curves: One entry a run; may be empty, or hold no rows yet.
        title: The answer.
        subtitle: What was asked.
        y: "excess" falls back to "loss" when a curve has none.
        scale: Of the ordinate.
        x: "log" spreads the early steps out.
    """
    points = max(100, min(_POINTS, _ALL_POINTS // max(1, len(curves))))
    picture = make_picture(curves, y=y, scale=scale, points=points, x=x)
    height = max(HEIGHT, _LABEL_PITCH * len(curves))
    across = make_x(picture, x=x, length=WIDTH)
    up = make_y(picture, title=_AXIS_TITLES[picture.quantity], length=height)
    layers = [
        *_line_layers(picture, across=across, up=up),
        *_lone_points(picture),
        *_event_layers(picture, height=height),
        *_label_layers(picture, across=across, up=up),
        _note_layer(picture, height=height),
    ]
    return {
        "$schema": SCHEMA,
        "description": f"{title}. {subtitle}",
        "title": {"text": title, "subtitle": subtitle},
        "width": WIDTH,
        "height": height,
        "layer": layers,
        "config": _CONFIG,
    }


def _line_layers(picture: Picture, *, across: Axis, up: Axis) -> list[Json]:
    """Draw restless curves first and thin, so that they hide neither each other nor the calm."""
    restless = [series for series in picture.series if is_restless(series, up=up)]
    calm = [series for series in picture.series if series not in restless]
    thin = {"strokeWidth": 1.1, "opacity": 0.8}
    return [
        _line_layer(picture, group, across=across, up=up, style=style)
        for group, style in ((restless, thin), (calm, {}))
        if group or style == {}
    ]


def is_restless(series: Series, *, up: Axis) -> bool:
    """Tell whether a curve runs up and down so much that a thick line would be a carpet."""
    heights = [
        up.position(value)
        for value, nature in zip(series.values, series.natures, strict=True)
        if nature is Nature.DRAWN
    ]
    return sum(abs(b - a) for a, b in pairwise(heights)) > _RESTLESS_HEIGHTS * up.length


def _line_layer(
    picture: Picture, group: Sequence[Series], *, across: Axis, up: Axis, style: Json
) -> Json:
    field = _field(picture)
    values = [
        {"run": series.label, "step": step, field: value if nature is Nature.DRAWN else None}
        for series in group
        for step, value, nature in zip(series.steps, series.values, series.natures, strict=True)
    ]
    x = {**_STEP, "scale": across.scale, "axis": across.axis}
    y = {"field": field, "type": "quantitative", "scale": up.scale, "axis": up.axis}
    mark = {"type": "line", "invalid": "break-paths-show-domains", **style}
    color, dash = {**_RUN, **_run_scale(picture)}, {**_RUN, **_dash_scale(picture)}
    return _layer(values, mark, {"x": x, "y": y, "color": color, "strokeDash": dash})


def _layer(values: list[Json], mark: Json, encoding: Json) -> Json:
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def _pixel(field: str) -> Json:
    """Return an encoding whose values are pixels already."""
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def _field(picture: Picture) -> str:
    return "excess_loss" if picture.quantity == "excess" else "loss"


def _run_scale(picture: Picture) -> Json:
    return {
        "scale": {
            "domain": [series.label for series in picture.series],
            "range": [color_of(series.color_index) for series in picture.series],
        },
        "legend": _legend(picture),
    }


def _dash_scale(picture: Picture) -> Json:
    return {
        "scale": {
            "domain": [series.label for series in picture.series],
            "range": [list(dash_of(series.color_index)) for series in picture.series],
        },
        "legend": _legend(picture),
    }


def _legend(picture: Picture) -> Json | None:
    if len(picture.series) < 2:  # noqa: PLR2004  # one curve needs no legend
        return None
    longest = max(len(series.label) for series in picture.series)
    columns = max(1, int((WIDTH + 100) / (_LEGEND_SYMBOL + _LETTER * longest)))
    return {"title": None, "symbolType": "stroke", "columns": columns}


def _lone_points(picture: Picture) -> list[Json]:
    """Show points that have no neighbour to draw a line to."""
    field = _field(picture)
    values = [
        {"run": series.label, "step": series.steps[first], field: series.values[first]}
        for series in picture.series
        for nature, first, last in series.stretches()
        if nature is Nature.DRAWN and first == last
    ]
    if not values:
        return []
    y = {"field": field, "type": "quantitative"}
    return [_layer(values, {**_POINT, "size": 36}, {"x": _STEP, "y": y, "color": _RUN})]


def _event_layers(picture: Picture, *, height: int) -> list[Json]:
    """Mark where a curve is exactly zero (floor) or not finite (ceiling)."""
    spans: list[Json] = []
    ends: list[Json] = []
    for series in picture.series:
        for nature, first, last in series.stretches():
            if nature is Nature.DRAWN:
                continue
            pixel = height if nature is Nature.ZERO else 0
            event = {"run": series.label, "event": nature.value, "pixel": pixel}
            spans.append({**event, "step": series.steps[first], "until": series.steps[last]})
            ends += [{**event, "step": series.steps[at]} for at in sorted({first, last})]
    if not ends:
        return []
    names = [
        {"event": nature.value, "pixel": height if nature is Nature.ZERO else 0}
        for nature in _SYMBOLS
        if picture.has(nature)
    ]
    at = {"x": _STEP, "y": _pixel("pixel"), "color": _RUN}
    shapes = {"domain": [nature.value for nature in _SYMBOLS], "range": list(_SYMBOLS.values())}
    shape = {"field": "event", "type": "nominal", "scale": shapes, "legend": None}
    # The names stand where an axis would name a value: zero and infinity have none on a log axis.
    named = {"x": {"value": -9}, "y": _pixel("pixel"), "text": {"field": "event"}}
    return [
        _layer(spans, {"type": "rule", "strokeWidth": 2.5, "opacity": 0.45}, at | _UNTIL),
        _layer(ends, {**_POINT, "size": 90}, {**at, "shape": shape}),
        _layer(names, {"type": "text", "align": "right", "color": _GREY}, named),
    ]


def _label_layers(picture: Picture, *, across: Axis, up: Axis) -> list[Json]:
    """Write each run's name and last value beside the end of its line, no two on one place."""
    named = [series for series in picture.series if series.steps]
    ends = [_end_of(series, up=up) for series in named]
    places = dodge(ends, gap=_LABEL_PITCH, length=up.length)
    elbow = (
        _ELBOW
        if all(abs(a - b) < _STEEP for a, b in zip(ends, places, strict=True))
        else 3 * _ELBOW
    )
    left = WIDTH + 6 + elbow
    leaders: list[Json] = []
    dots: list[Json] = []
    texts: list[Json] = []
    for series, end, place in zip(named, ends, places, strict=True):
        start = across.position(series.steps[-1])
        corners = ((start, end), (WIDTH + 6.0, end), (left, place))
        leaders += [
            {"run": series.label, "right": right, "down": down, "order": order}
            for order, (right, down) in enumerate(corners)
        ]
        text = f"{series.label}\u2002{format_value(series.values[-1])}"
        texts.append({"run": series.label, "right": left + 5, "down": place, "text": text})
        if series.natures[-1] is Nature.DRAWN:
            dots.append({"run": series.label, "right": start, "down": end})
    if not texts:
        return []
    at = {"x": _pixel("right"), "y": _pixel("down")}
    dotted = {"type": "line", "strokeWidth": 1, "strokeDash": [1, 3], "opacity": 0.8}
    order = {"field": "order", "type": "quantitative"}
    return [
        _layer(leaders, dotted, {**at, "order": order, "color": _RUN}),
        _layer(dots, {**_POINT, "size": 34}, {**at, "color": _RUN}),
        _layer(texts, {"type": "text", "align": "left"}, {**at, "text": {"field": "text"}}),
    ]


def _end_of(series: Series, *, up: Axis) -> float:
    """Return how many pixels below the top a curve ends."""
    match series.natures[-1]:
        case Nature.ZERO:
            return float(up.length)
        case Nature.NONFINITE:
            return 0.0
        case Nature.DRAWN:
            return up.length - up.position(series.values[-1])


def _note_layer(picture: Picture, *, height: int) -> Json:
    """Say below the axis how many of the steps are drawn."""
    mark = {"type": "text", "align": "right", "baseline": "top", "color": _GREY, "fontSize": 11}
    encoding = {"x": {"value": WIDTH}, "y": {"value": height + 27}, "text": {"field": "note"}}
    return _layer([{"note": note_of(picture)}], mark, encoding)


def note_of(picture: Picture) -> str:
    """Return "showing n of m steps", in the words that fit."""
    shown = sum(max(0, len(series.steps) - 1) for series in picture.series)
    made = sum(series.num_steps for series in picture.series)
    if not made:
        return "no step yet"
    extremes = "" if shown == made else ", extremes kept"
    return f"showing {shown:,} of {made:,} steps{extremes}"


_CONFIG: Final[Json] = {
    "background": "#FFFFFF",
    "font": "sans-serif",
    "padding": {"left": 20, "top": 18, "right": 24, "bottom": 16},
    "view": {"stroke": None},
    "title": {
        "anchor": "start",
        "frame": "bounds",
        "color": _INK,
        "fontSize": 19,
        "fontWeight": 600,
        "subtitleColor": _GREY,
        "subtitleFontSize": 13,
        "subtitlePadding": 7,
        "offset": 14,
    },
    "axis": {"labelFontSize": 12, "titleFontSize": 12},
    "legend": {
        "orient": "top",
        "direction": "horizontal",
        "labelFontSize": 12,
        "labelColor": _INK,
        "symbolStrokeWidth": 2.5,
        "symbolOpacity": 1,
        "symbolSize": 260,
        "columnPadding": 18,
        "offset": 12,
        "labelLimit": 240,
        "symbolLimit": 0,
    },
    "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
    "text": {"fontSize": 12, "baseline": "middle", "color": _INK},
}
