"""All rows of the fault table, in its order; a new scenario is a Row in a file here and a line below."""

from typing import Final

from tests.chaos.rows import api_rows, queue_rows, redis_rows, soak_rows, worker_rows
from tests.chaos.rows.row import Row

ROWS: Final[tuple[Row, ...]] = (
    *worker_rows.ROWS,
    *redis_rows.ROWS,
    *api_rows.ROWS,
    *queue_rows.ROWS,
    *soak_rows.ROWS,
)
