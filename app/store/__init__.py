"""Everything that knows Redis; it does not know HTTP, Celery or torch."""
