"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """The line above a table."""
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
