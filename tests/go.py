"""Programs in Go that tests build."""

import shutil
import subprocess

import pytest


def build(folder, target, *options):
    """Builds the program of a folder; without Go the test is skipped."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip(f"Go is not installed: it builds {folder.parent.name}/{folder.name} (https://go.dev/dl)")
    command = [go, "build", "-mod=readonly", *options, "-o", str(target), "."]
    # A registry can fail for a moment.
    for _ in range(3):
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if built.returncode == 0:
            break
    assert built.returncode == 0, built.stderr
