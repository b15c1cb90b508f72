"""The reader of console blocks: commands, continuations, promises."""

from pathlib import Path

import pytest

from tests.docs.console import commands_of, matches

PAGE = """# A page

```console
$ first
one …
$ second \\
    part
```

```json
$ not this
```

```console
$ third
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_commands_are_read_with_their_lines_and_promises(page: Path) -> None:
    found = [(command.line, command.text, command.promised) for command in commands_of(page)]

    assert found == [
        (4, "first", "one \u2026"),
        (6, "second \\\n    part", ""),
        (15, "third", ""),
    ]


def test_promise_holds_in_order_and_with_loose_spaces() -> None:
    assert matches("a \u2026 c", "a\n  b c d")
    assert matches("", "anything")
    assert not matches("c \u2026 a", "a b c")
    assert not matches("a b", "ab")
