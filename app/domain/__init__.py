"""The vocabulary that service and worker share: pure pydantic and standard library, no I/O."""
