"""`cilium-envoy-starter` as a process, which needs privileges."""

import re
import sys
from pathlib import Path

import pytest
from tests.agent.process import Proxy

from cilium_proxy.supervisor import state_directory

STARTER = "from cilium_proxy.cli.starter import starter; starter()"
NET_ADMIN = 1 << 12


def capabilities(pid="self"):
    """Capability sets of a process by name."""
    lines = Path(f"/proc/{pid}/status").read_text()
    return {name: int(value, 16) for name, value in re.findall(r"^(Cap\w+):\s(\w+)$", lines, re.MULTILINE)}


privileged = pytest.mark.skipif(
    not capabilities()["CapEff"] & NET_ADMIN, reason="needs CAP_NET_ADMIN and CAP_BPF, as the proxy on a node"
)


class Starter(Proxy):
    """`cilium-envoy-starter` with the arguments of the chart."""

    def command(self, path, arguments):
        # With XDG_RUNTIME_DIR, which it is started with.
        state = self.directory / "cilium-proxy" / state_directory.default(path).name
        return [sys.executable, "-c", STARTER, "--", f"-c {path}", *arguments], state
