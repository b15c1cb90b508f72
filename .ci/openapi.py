"""Writes docs/openapi.json from the routes, so that a change of the contract shows in a diff."""

import json
from pathlib import Path
from typing import Final

from app.main import create_app
from app.settings import Settings

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"

if __name__ == "__main__":
    PATH.write_text(json.dumps(create_app(Settings()).openapi(), indent=1) + "\n")
