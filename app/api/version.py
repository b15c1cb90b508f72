"""The version of this service, in one place for /version, / and the OpenAPI document."""

from importlib.metadata import version
from typing import Final

VERSION: Final[str] = version("fitjobs")
"""As pyproject.toml says."""
