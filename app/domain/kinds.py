"""Every kind of job: the specs that there are, and the plain fit behind each of their runs."""

from typing import Annotated

from pydantic import Field

from app.domain.batch import BatchSpec
from app.domain.spec import ComparisonSpec, FitSpec
from app.domain.sweep import SweepSpec

FewRuns = FitSpec | ComparisonSpec
"""Kinds whose runs are results of their own, with histories."""
ManyRuns = SweepSpec | BatchSpec
"""Kinds whose runs are records of the store."""
AnySpec = FewRuns | ManyRuns
"""Everything that a job can run."""

Spec = Annotated[AnySpec, Field(discriminator="kind")]
"""The same, as JSON tells it."""
