"""Frames as bytes: what a browser's EventSource takes apart again."""

from app.api.frame import HEARTBEAT, WAITING, make_frame, make_retry


def test_frame_has_id_event_and_one_line_of_data() -> None:
    frame = make_frame("job.progress", {"loss": 0.5, "note": "a\nb"}, seq=7)

    assert frame.endswith(b"\n\n")
    assert sorted(frame.decode().splitlines()) == [
        "",
        'data: {"loss":0.5,"note":"a\\nb"}',
        "event: job.progress",
        "id: 7",
    ]


def test_frame_of_text_that_breaks_lines_elsewhere_is_one_line() -> None:
    frame = make_frame("snapshot", {"name": "a\r\n\u2028b\x85", "odd": "half \ud800"}, seq=1)

    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n") == 4
    assert b"\r" not in frame


def test_frame_of_a_number_that_json_lacks_holds_null() -> None:
    assert b'"loss":null' in make_frame("job.progress", {"loss": float("inf")}, seq=1)


def test_comments_are_no_events() -> None:
    for comment in (HEARTBEAT, WAITING):
        assert comment.startswith(b":")
        assert comment.endswith(b"\n\n")
        assert comment.count(b"\n") == 2


def test_retry_is_in_milliseconds() -> None:
    assert make_retry(1500) == b"retry: 1500\n\n"
