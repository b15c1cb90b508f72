"""Writes docs/openapi.json from the routes, so that a change of the contract shows in a diff."""

import json
from pathlib import Path
from typing import Final

from app.api.reference import document_of
from app.main import create_app
from app.settings import Settings

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"

if __name__ == "__main__":
    PATH.write_text(json.dumps(document_of(create_app(Settings())), indent=1) + "\n")
