"""Why a resource cannot be rewritten."""

from __future__ import annotations


class RewriteError(ValueError):
    """A resource is refused; the text names the place in it and goes to the sender as its NACK."""

    def __init__(self, path: tuple[str, ...], reason: str) -> None:
        super().__init__(f"{'.'.join(path) or 'resource'}: {reason}")
