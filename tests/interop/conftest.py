"""go-control-plane in the place of the agent."""

import asyncio
import base64
import collections
import json
from pathlib import Path

import pytest
from tests.agent.conftest import backend, bootstrap, client, directory, node, run
from tests.agent.double import LIMIT
from tests.go import build

from cilium_proxy import api

__all__ = ["backend", "bootstrap", "client", "directory", "node", "run"]

SERVER = Path(__file__).with_name("server")


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The server, built."""
    target = tmp_path_factory.mktemp("go") / "server"
    build(SERVER, target)
    return target


class ControlPlane:
    """The running server."""

    def __init__(self, program, path, serves):
        self._command = [str(program), str(path), serves]
        self._path = path

    async def start(self):
        self._path.unlink(missing_ok=True)
        # Counts as the server does: anew with each process.
        self._versions = collections.Counter()
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        assert await self._process.stdout.readline() == b"ready\n"

    async def stop(self):
        self._process.kill()
        await self._process.wait()
        self._process._transport.close()

    async def push(self, url, resources):
        """Makes messages by name the resources of a type; returns the error of the answer, None for an ACK.

        Answers to what was sent before are passed over, such as that to the empty set of a server without resources.
        """
        self._versions[url] += 1
        values = {name: base64.b64encode(api.serialise(one)).decode() for name, one in resources.items()}
        self._process.stdin.write(json.dumps({"type": url, "resources": values}).encode() + b"\n")
        async with asyncio.timeout(LIMIT):
            while True:
                answer = json.loads(await self._process.stdout.readline())
                if answer["type"] == url and int(answer["version"]) >= self._versions[url]:
                    return answer["error"]


@pytest.fixture
async def control_plane(program, directory):
    """Starts the server: `await control_plane("separate,aggregated")`."""
    started = []

    async def start(serves):
        made = ControlPlane(program, directory / "agent.sock", serves)
        await made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        await made.stop()
