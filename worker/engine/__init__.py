"""The steps themselves: torch and the vocabulary, nothing of Redis, Celery or HTTP."""
