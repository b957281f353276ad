from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cilium_proxy


def test_the_stub_says_what_the_extension_has() -> None:
    source = str(Path(cilium_proxy.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "mypy.stubtest", "cilium_proxy._core"]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, "MYPYPATH": source}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
