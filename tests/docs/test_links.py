"""Every link and every picture of the pages leads somewhere."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import LINKED, name_of

LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(page.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_of_a_page_resolve(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page

        assert linked.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors_of(linked), f"{name_of(page)} links to {target}"
