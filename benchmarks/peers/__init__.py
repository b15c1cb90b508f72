"""The programs that we are compared with; none of them is part of the service."""
