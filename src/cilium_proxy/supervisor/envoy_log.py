"""Envoy's log in ours."""

from __future__ import annotations

import logging

_log = logging.getLogger("envoy")
# What is shown is for Envoy's own log level to say.
_log.setLevel(logging.DEBUG)
_LEVELS = {
    "[trace]": logging.DEBUG,
    "[debug]": logging.DEBUG,
    "[info]": logging.INFO,
    "[warning]": logging.WARNING,
    "[error]": logging.ERROR,
    "[critical]": logging.CRITICAL,
}


class EnvoyLog:
    """Passes on the lines of one Envoy process. Lines without a level continue the one before."""

    def __init__(self) -> None:
        self._level: int | None = None

    def __call__(self, line: str) -> None:
        """Logs one line."""
        mark, bracket, text = line.partition("]")
        level = _LEVELS.get(mark + bracket)
        if level is None:
            text = line
        else:
            self._level = level
        # Before its first message Envoy prints its usage, when an argument is wrong. The supervisor shows the error.
        if self._level is not None:
            _log.log(self._level, "envoy: %s", text)
