"""Writes the package's commands for an image: `entry_points.py SITE_PACKAGES DIRECTORY`.

The image has neither a shell nor the virtual environment that pip's own scripts name.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

SCRIPT = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, {packages!r})
from {module} import {function}

sys.exit({function}())
"""


def main(packages: str, directory: Path) -> None:
    """One file per console script of cilium-proxy."""
    directory.mkdir(parents=True, exist_ok=True)
    for distribution in distributions(path=[packages]):
        if distribution.metadata["Name"] != "cilium-proxy":
            continue
        for entry in distribution.entry_points.select(group="console_scripts"):
            path = directory / entry.name
            path.write_text(SCRIPT.format(packages=packages, module=entry.module, function=entry.attr))
            path.chmod(0o755)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
