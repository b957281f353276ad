"""A module's end of the policy channel: speaks the protocol, keeps what it accepts, answers as the test says."""

import asyncio
import contextlib
import struct
import tempfile
from pathlib import Path

import pytest

from cilium_proxy import api
from cilium_proxy.relay import frames
from cilium_proxy.relay.channel import POLICIES, PolicyChannel

FRAME = "cilium_proxy.v1.Frame"


class Module:
    """Stores what it takes. `refuse` maps resource names to texts; `mute` takes without answering."""

    def __init__(self, path, name="m"):
        self.path, self.name = path, name
        self.resources, self.applied, self.transactions = {}, {}, []
        self.refuse, self.mute = {}, False

    async def connect(self):
        self.reader, self.writer = await asyncio.open_unix_connection(str(self.path))
        applied = [
            {"type_url": url, "epoch": epoch, "version": version, "digest": digest}
            for url, (epoch, version, digest) in self.applied.items()
        ]
        self.writer.write(frames.encode(module_hello={"protocol": 1, "instance": self.name, "applied": applied}))
        self.hello = (await self.frame()).server_hello
        self.task = asyncio.create_task(self._serve())

    async def disconnect(self):
        self.writer.close()
        with contextlib.suppress(asyncio.CancelledError):
            self.task.cancel()
            await self.task

    async def frame(self):
        (length,) = struct.unpack(">I", await self.reader.readexactly(4))
        return api.messages(FRAME).FromString(await self.reader.readexactly(length))

    async def _serve(self):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._transaction((await self.frame()).begin)

    async def _transaction(self, begin):
        digest, upserts, removed = frames.Digest(), {}, []
        while True:
            frame = await self.frame()
            match frame.WhichOneof("kind"):
                case "upsert":
                    digest.upsert(frame.upsert.name, frame.upsert.resource)
                    upserts[frame.upsert.name] = frame.upsert.resource
                case "remove":
                    digest.remove(frame.remove.name)
                    removed.append(frame.remove.name)
                case "commit":
                    break
        assert frame.commit.digest == digest.digest()
        assert frame.commit.count == len(upserts) + len(removed)
        full = begin.kind == 0
        self.transactions.append((begin.target_version, "FULL" if full else "DELTA", upserts, removed))
        if not self.mute:
            self.writer.write(
                frames.encode(result={"txn": begin.txn, **self._answer(begin, full, upserts, removed, digest)})
            )

    def _answer(self, begin, full, upserts, removed, digest):
        held = self.resources.setdefault(begin.type_url, {})
        epoch, version, _ = self.applied.get(begin.type_url, (None, "", b""))
        if not full and begin.base_version != (version if epoch == self.hello.epoch else ""):
            return {"base_mismatch": {"version": version}}
        for name in upserts:
            if name in self.refuse:
                return {"rejected": {"detail": self.refuse[name]}}
        if full:
            held.clear()
        held.update(upserts)
        for name in removed:
            del held[name]
        self.applied[begin.type_url] = (self.hello.epoch, begin.target_version, digest.digest())
        return {"accepted": {}}

    def policies(self):
        return self.resources.get(POLICIES, {})


@pytest.fixture
def module_type():
    return Module


@pytest.fixture
def directory():
    # Short: paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(prefix="cp-") as name:
        yield Path(name)


@pytest.fixture
async def channel(directory):
    channel = PolicyChannel(directory / "policy.sock", result_timeout=5)
    await channel.start()
    yield channel
    await channel.close()


@pytest.fixture
async def connect(channel):
    """Connects a module: `await connect(name=...)`, or again: `await connect(module)`."""
    modules = []

    async def connected(module=None, name="m"):
        module = module or Module(channel.path, name)
        before = set(channel.sessions)
        await module.connect()
        modules.append(module)
        while not set(channel.sessions) - before:
            await asyncio.sleep(0)
        return module

    yield connected
    for module in modules:
        await module.disconnect()
