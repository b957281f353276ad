"""A proxy behind an agent, as processes whose time and memory can be read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent import resources
from tests.agent.double import AgentDouble, Answer
from tests.integration.addresses import free_port

from bench.http.load import cpu_seconds
from cilium_proxy.supervisor import control

START_LIMIT = 60.0
LIMIT = 300.0


@dataclass
class Proxy:
    """The running proxy and its agent."""

    agent: AgentDouble
    relay: int
    envoy: int
    state: Path
    log: Path
    node: resources.Agent

    async def push(self, url: str, resources: Mapping[str, object]) -> Answer:
        """Has the agent send what there is of a type, and waits for the ACK. Raises RuntimeError."""
        try:
            answer = await self.agent.answered(url, await self.agent.set(url, resources), LIMIT)
        except TimeoutError:
            raise RuntimeError(f"no answer in {LIMIT:g} s:\n{self.log.read_text()}") from None
        if answer.error is not None:
            raise RuntimeError(answer.error)
        return answer

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU time that relay and Envoy have used."""
        return cpu_seconds(self.relay), cpu_seconds(self.envoy)

    def memory(self) -> tuple[float, float]:
        """MiB that relay and Envoy hold."""
        return _resident(self.relay), _resident(self.envoy)

    def status(self) -> dict[str, Any]:
        """What `cilium-proxy status` shows."""
        return control.ask(self.state / "control.sock", "status")


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.asynccontextmanager
async def started(transport: str, *, host: str = "127.0.0.2", backend: int = 9) -> AsyncIterator[Proxy]:
    """Starts agent and proxy; `transport` is `split` or `delta`. `backend`: the port that clusters connect to."""
    with tempfile.TemporaryDirectory(prefix="cb-") as name:
        directory = Path(name)
        agent = AgentDouble(directory / "agent.sock", (transport,))
        await agent.start()
        source = resources.agent_source()
        source["api_config_source"]["api_type"] = "DELTA_GRPC" if transport == "delta" else "GRPC"
        config = directory / "bootstrap-config.json"
        config.write_text(
            json.dumps(
                resources.bootstrap(
                    agent.path,
                    directory / "admin.sock",
                    source,
                    metrics=free_port(),
                    health=free_port(),
                    port=backend,
                )
            )
        )
        command = [sys.executable, "-m", "cilium_proxy", "agent", "-c", str(config), "--state-dir"]
        command += [str(directory / "state"), "--unprivileged", "--", "--use-dynamic-base-id", "--concurrency", "1"]
        with (directory / "log").open("w") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            node = resources.Agent(
                host=host, port=free_port(host), additional=(), bpf=None, access_log=str(directory / "none.sock")
            )
            made = Proxy(agent, process.pid, 0, directory / "state", directory / "log", node)
            made.envoy = await _envoy(made)
            yield made
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            await agent.stop()


async def _envoy(proxy: Proxy) -> int:
    """Waits for Envoy; it listens when it has policies."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        with contextlib.suppress(control.UnreachableError):
            pid = (await asyncio.to_thread(proxy.status))["envoy"]["pid"]
            if pid is not None:
                return int(pid)
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the proxy does not start:\n{proxy.log.read_text()}")
