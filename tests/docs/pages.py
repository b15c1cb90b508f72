"""The pages that readers read, and everything that they say in one text."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LINKED: Final = (*PAGES, *sorted((ROOT / "docs" / "adr").glob("*.md")), ROOT / "CONTRIBUTING.md")


def name_of(page: Path) -> str:
    """Return a page's path as people write it."""
    return page.relative_to(ROOT).as_posix()


def everything() -> str:
    """Return the text of all pages."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
