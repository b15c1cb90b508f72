"""One line an event, for people or for machines."""

import json
import logging
from collections.abc import Iterator

import pytest

from app.log import bound, configure, fields


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Put the root logger back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


class Written:
    """What has gone to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys)


def test_text_is_one_line_with_quoted_values(lines: Written) -> None:
    configure(form="text", level="info")
    logging.getLogger("x").info("job.started", extra=fields(kind="fit", detail='a "b"\nc', n=1))

    assert lines.getvalue().endswith('job.started kind=fit detail="a \\"b\\"\\nc" n=1\n')
    assert lines.getvalue().count("\n") == 1


def test_json_is_one_object_a_line(lines: Written) -> None:
    configure(form="json", level="info")
    logging.getLogger("x.y").warning("store.away", extra=fields(detail="a\nb", where=object))
    line = json.loads(lines.getvalue())

    assert line["event"] == "store.away"
    assert (line["level"], line["logger"], line["detail"]) == ("warning", "x.y", "a\nb")
    assert line["at"].endswith("+00:00")


def test_fields_cannot_take_the_place_of_the_event(lines: Written) -> None:
    configure(form="json", level="info")
    logging.getLogger("x").info("job.started", extra=fields(event="other", level="other"))
    line = json.loads(lines.getvalue())

    assert (line["event"], line["level"]) == ("job.started", "info")


def test_bound_fields_are_on_every_line_inside_only(lines: Written) -> None:
    configure(form="json", level="debug")
    log = logging.getLogger("x")
    with bound(job_id="j1"), bound(attempt=2):
        log.info("inside")
    log.info("outside")
    inside, outside = map(json.loads, lines.getvalue().splitlines())

    assert (inside["job_id"], inside["attempt"]) == ("j1", 2)
    assert "job_id" not in outside


@pytest.mark.parametrize("form", ["text", "json"])
def test_traceback_is_told(lines: Written, form: str) -> None:
    configure(form="json" if form == "json" else "text", level="info")
    try:
        assert 1 / 0
    except ZeroDivisionError:
        logging.getLogger("x").exception("job.crashed")

    assert "ZeroDivisionError" in lines.getvalue()
    assert (lines.getvalue().count("\n") == 1) is (form == "json")


def test_level_hides_what_is_less_severe(lines: Written) -> None:
    configure(form="text", level="error")
    logging.getLogger("x").warning("hidden")

    assert lines.getvalue() == ""
