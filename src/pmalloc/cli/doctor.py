"""`pmalloc doctor`."""


def doctor() -> None:
    """Says what this machine allows."""
