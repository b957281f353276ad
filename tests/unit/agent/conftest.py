import asyncio
import tempfile
from pathlib import Path

import pytest
from tests.agent.double import AgentDouble

from cilium_proxy.api import messages
from cilium_proxy.sources.agent import AgentClient, RefusedError


@pytest.fixture
def directory():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


class Recorder:
    """A sink that remembers. `refuse`: resource name to text; `hold`: updates are in force when it is set."""

    def __init__(self):
        self.updates, self.refuse = [], {}
        self.names = set()
        self.hold = asyncio.Event()
        self.hold.set()
        self._new = asyncio.Condition()

    def held(self, _type_url):
        return self.names

    async def stage(self, update):
        self.names = (self.names if update.delta else set()) - set(update.removed) | update.resources.keys()
        async with self._new:
            self.updates.append(update)
            self._new.notify_all()

        async def settled():
            await self.hold.wait()
            for name in update.resources:
                if name in self.refuse:
                    raise RefusedError(self.refuse[name])

        return settled()

    async def until(self, condition):
        async with asyncio.timeout(20), self._new:
            await self._new.wait_for(lambda: any(map(condition, self.updates)))
        return next(filter(condition, self.updates))


@pytest.fixture
def sink():
    return Recorder()


@pytest.fixture
async def agent(directory):
    agent = AgentDouble(directory / "xds.sock")
    await agent.start()
    yield agent
    await agent.stop()


@pytest.fixture
async def connect(agent, sink):
    """Starts a client: `await connect("split")`."""
    clients = []

    async def start(transport="split", **options):
        node = messages("envoy.config.core.v3.Node")(id="host~127.0.0.1~no-id~localdomain")
        client = AgentClient(agent.path, node, transport, sink, **options)
        clients.append(client)
        await client.start()
        return client

    yield start
    for client in clients:
        await client.close()
