"""The child process that draws: right pictures, bounded time, nothing left behind."""

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from app.charts.curve import Json, loss_chart
from app.charts.image import Renderer, main, render_png, render_svg, serve
from app.charts.series import Curve
from app.domain.errors import ChartFailed, ChartUnavailable
from tests.unit.charts.make import Make
from tests.waiting import wait_until_async

PNG = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct("<cI")
# A child takes a second to start, and each test starts one.
pytestmark = pytest.mark.slow

BROKEN = {"mark": 3}
REMOTE = {"data": {"url": "http://127.0.0.1:9/x.json"}, "mark": "line", "encoding": {}}


@pytest.fixture
def spec(make_curve: Make[Curve]) -> Json:
    return loss_chart([make_curve([1.0, 0.1, 0.01])], title="y = x", subtitle="Adam")


def size_of(png: bytes) -> tuple[int, int]:
    return struct.unpack(">II", png[16:24])


def is_alive(pid: int | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_png_has_scale_times_the_pixels(spec: Json) -> None:
    once, twice = size_of(render_png(spec, scale=1)), size_of(render_png(spec, scale=2))

    assert twice == pytest.approx([2 * side for side in once], abs=2)


def test_huge_scales_are_bounded(spec: Json) -> None:
    assert size_of(render_png(spec, scale=50)) == size_of(render_png(spec, scale=4))


@pytest.mark.parametrize("bad", [BROKEN, REMOTE])
def test_bad_specs_and_data_from_elsewhere_are_refused(bad: Json) -> None:
    with pytest.raises(ChartFailed):
        render_svg(bad)
    with pytest.raises(ChartFailed):
        render_png(bad)


def test_serve_answers_each_request_in_turn(spec: Json) -> None:
    requests = io.BytesIO()
    asked = [(b"s", {"spec": spec}), (b"s", {"spec": BROKEN}), (b"p", {"spec": spec, "scale": 1})]
    for form, request in asked:
        body = orjson.dumps(request)
        requests.write(HEADER.pack(form, len(body)) + body)
    requests.seek(0)
    replies = io.BytesIO()
    serve(requests, replies)
    replies.seek(0)
    heads = []
    bodies = []
    for _ in asked:
        head, length = HEADER.unpack(replies.read(HEADER.size))
        heads.append(head)
        bodies.append(replies.read(length))

    assert heads == [b"o", b"e", b"o"]
    assert bodies[0].startswith(b"<svg")
    assert bodies[2].startswith(PNG)
    assert replies.read() == b""


def test_child_draws_what_the_function_draws(spec: Json) -> None:
    async def draw() -> tuple[bytes, bytes]:
        async with Renderer() as renderer:
            return await renderer.svg(spec), await renderer.png(spec, scale=1)

    svg, png = asyncio.run(draw())

    assert svg == render_svg(spec)
    assert png.startswith(PNG)


async def test_drawing_in_a_child_keeps_vl_convert_out_of_this_process() -> None:
    script = (
        "import asyncio, sys\n"
        "from app.charts.image import Renderer\n"
        "async def main():\n"
        "    async with Renderer() as renderer:\n"
        "        svg = await renderer.svg({'mark': 'point', 'encoding': {}, 'data': {'values': [{}]}})\n"
        "    assert svg.startswith(b'<svg'), svg\n"
        "    assert 'vl_convert' not in sys.modules\n"
        "    resident = int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "    assert resident < 80e6, resident\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(  # noqa: ASYNC221  # the script is the test
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


async def test_requests_share_one_child(spec: Json) -> None:
    async with Renderer() as renderer:
        drawn = await asyncio.gather(*(renderer.svg(spec) for _ in range(4)))
        first = renderer.child_pid
        await renderer.svg(spec)

        assert len(set(drawn)) == 1
        assert renderer.child_pid == first


async def test_close_ends_the_child_and_refuses_more(spec: Json) -> None:
    renderer = Renderer()
    await renderer.svg(spec)
    pid = renderer.child_pid
    await renderer.close()

    assert not is_alive(pid)
    with pytest.raises(ChartUnavailable):
        await renderer.svg(spec)


async def test_close_does_not_wait_for_a_child_that_hangs(spec: Json) -> None:
    renderer = Renderer()
    await renderer.svg(spec)
    pid = renderer.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await renderer.close()

    assert not is_alive(pid)


async def test_idle_child_is_let_go(spec: Json) -> None:
    async with Renderer(idle_seconds=0.01) as renderer:
        await renderer.svg(spec)
        pid = renderer.child_pid
        await wait_until_async(
            lambda: renderer.child_pid is None and not is_alive(pid), "the idle child has ended"
        )

        assert (await renderer.svg(spec)).startswith(b"<svg")


async def test_child_is_replaced_after_many_pictures(spec: Json) -> None:
    async with Renderer(max_pictures=1) as renderer:
        await renderer.svg(spec)

        assert renderer.child_pid is None
        assert (await renderer.svg(spec)).startswith(b"<svg")


async def test_slow_picture_is_given_up_and_the_next_one_drawn(spec: Json) -> None:
    async with Renderer(timeout_seconds=0.001) as renderer:
        with pytest.raises(ChartUnavailable, match="within"):
            await renderer.svg(spec)
        renderer._timeout_seconds = 20

        assert (await renderer.svg(spec)).startswith(b"<svg")


async def test_cancelled_request_leaves_no_answer_for_the_next(spec: Json) -> None:
    async with Renderer() as renderer:
        await renderer.svg(spec)
        task = asyncio.create_task(renderer.png(spec, scale=4))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await renderer.svg(spec)).startswith(b"<svg")


async def test_too_many_waiting_requests_are_refused_at_once(spec: Json) -> None:
    async with Renderer(max_waiting=1) as renderer:
        first = asyncio.create_task(renderer.svg(spec))
        await asyncio.sleep(0)
        with pytest.raises(ChartUnavailable) as caught:
            await renderer.svg(spec)

        assert caught.value.retry_after_seconds == 2
        assert (await first).startswith(b"<svg")


async def test_failed_spec_does_not_cost_the_child(spec: Json) -> None:
    async with Renderer() as renderer:
        await renderer.svg(spec)
        pid = renderer.child_pid
        with pytest.raises(ChartFailed, match="not allowed"):
            await renderer.svg(REMOTE)

        assert renderer.child_pid == pid


async def test_killed_child_is_told_and_replaced(spec: Json) -> None:
    async with Renderer() as renderer:
        await renderer.svg(spec)
        os.kill(renderer.child_pid, 9)
        with pytest.raises(ChartUnavailable, match="ended early"):
            await renderer.svg(spec)

        assert (await renderer.svg(spec)).startswith(b"<svg")


def test_main_answers_on_standard_output_and_ends_with_its_input() -> None:
    body = orjson.dumps({"spec": BROKEN})
    done = subprocess.run(
        [sys.executable, "-m", "app.charts.image"],
        input=HEADER.pack(b"s", len(body)) + body,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stdout[:1] == b"e"
    assert callable(main)
