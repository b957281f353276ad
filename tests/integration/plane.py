"""The control plane and Envoy, each on its own."""

import asyncio

from tests.integration.files import LIMIT

from cilium_proxy.relay.channel import HOSTS, POLICIES, PolicyChannel
from cilium_proxy.relay.enforce import Enforcer
from cilium_proxy.relay.resources import ResourceCache
from cilium_proxy.relay.xds import XdsServer
from cilium_proxy.sources.files import FileSource


class ControlPlane:
    """The control plane without its Envoy, in this process."""

    def __init__(self, files):
        self.files = files
        self.source = FileSource(files.path, access_log=files.directory / "al.sock")
        self.channel = PolicyChannel(files.directory / "policy.sock", required=(HOSTS, POLICIES))
        self.cache = ResourceCache()
        self.xds = XdsServer(files.directory / "xds.sock", self.cache)
        self.enforcer = Enforcer(self.channel, self.cache)

    async def start(self):
        await self.channel.start()
        await self.xds.start()

    async def apply(self):
        """Brings the files into force; returns when they are."""
        await self.enforcer.apply(await self.source.read())

    async def close(self):
        await self.enforcer.close()
        await self.xds.close()
        await self.channel.close()


async def until_ready(process):
    """Envoy has its state and takes connections."""
    async with asyncio.timeout(LIMIT):
        while not await process.admin.is_ready():
            assert process.running, "\n".join(process.lines)
            await asyncio.sleep(0.02)
