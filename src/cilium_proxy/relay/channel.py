"""Server of the policy channel (api/cilium_proxy/v1/policy_channel.proto)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cilium_proxy.api import type_url
from cilium_proxy.relay import frames, sockets
from cilium_proxy.relay.session import LostError, Session
from cilium_proxy.relay.state import Change, RejectedError, TypeState

_log = logging.getLogger(__name__)

POLICIES = type_url("cilium.NetworkPolicy")
HOSTS = type_url("cilium.NetworkPolicyHosts")
SECRETS = type_url("envoy.extensions.transport_sockets.tls.v3.Secret")
TLS = type_url("cilium_proxy.v1.TlsContextState")

_HELLO_TIMEOUT = 5.0


class PolicyChannel:
    """Holds the accepted state of each type and brings every connected module to it.

    A change is in force when `publish` or `change` returns: all modules that are connected have accepted it. While none
    is connected they wait for one. A module that connects later gets the accepted state first.
    """

    def __init__(self, path: Path, *, required: Sequence[str] = (POLICIES,), result_timeout: float = 30.0) -> None:
        self.path = path
        self.epoch = time.time_ns()
        # Order of the replay: policies refer to hosts' identities, to secrets and to TLS contexts.
        self._states = {url: TypeState(url) for url in (SECRETS, HOSTS, TLS, POLICIES)}
        self._required = tuple(required)
        self._result_timeout = result_timeout
        self._sessions: set[Session] = set()
        # The Envoy that serves: while its module is connected, those of others, which start or drain, refuse in vain.
        self._serving: str | None = None
        self._somebody = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listens. Raises sockets.SocketError."""
        self._server = await asyncio.start_unix_server(self._connected, sock=sockets.listen(self.path))

    async def close(self) -> None:
        """Stops listening and ends all connections. Modules go on enforcing what they have."""
        if self._server is not None:
            self._server.close()
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def state(self, url: str) -> TypeState:
        """The accepted state of a type. Raises KeyError for a type the channel does not carry."""
        return self._states[url]

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The connected modules."""
        return tuple(self._sessions)

    def count(self, instance: str) -> None:
        """From now on this Envoy serves; what the module of another one refuses is in force without that one."""
        self._serving = instance

    async def publish(
        self, url: str, resources: Mapping[str, bytes], version: str, *, new_stream: bool = False
    ) -> None:
        """Makes `resources` the whole state of the type. Raises RejectedError; the accepted state then stays.

        With `new_stream` modules take all of it anew, else only what differs from the accepted state.
        """
        state = self._states[url]
        if new_stream:
            await self._enforce(state, lambda: Change(version=version, upserts=resources, full=True, new_stream=True))
        else:
            await self._enforce(state, lambda: state.step_to(version, resources))

    async def change(
        self, url: str, upserts: Mapping[str, bytes], removed: Iterable[str], version: str, *, new_stream: bool = False
    ) -> None:
        """Changes the state of the type. Raises RejectedError; the accepted state then stays.

        With `new_stream` modules take the whole changed state anew.
        """
        state = self._states[url]
        gone = tuple(removed)

        def make() -> Change:
            change = state.step(version, upserts, gone)
            return replace(state.whole_after(change), new_stream=True) if new_stream else change

        await self._enforce(state, make)

    async def _enforce(self, state: TypeState, make: Callable[[], Change]) -> None:
        while True:
            await self._somebody.wait()
            async with state.lock:
                sessions = tuple(self._sessions)
                change = make()
                outcomes = await asyncio.gather(
                    *(session.offer(state, change) for session in sessions), return_exceptions=True
                )
                digests: set[bytes] = set()
                took: list[Session] = []
                refusal: BaseException | None = None
                for session, outcome in zip(sessions, outcomes, strict=True):
                    if isinstance(outcome, bytes):
                        digests.add(outcome)
                        took.append(session)
                    elif isinstance(outcome, LostError):
                        self._drop(session)
                    elif isinstance(outcome, RejectedError) and not self._counts(session, sessions):
                        _log.error("module %s, which does not serve, refuses: %s", session.instance, outcome)
                    else:
                        refusal = refusal or outcome
                if refusal is not None:
                    state.error = str(refusal)
                    await self._take_back(state, took)
                    raise refusal
                if took:
                    state.accept(change, digests)
                    for session in took:
                        session.accepted(state)
                    return

    def _counts(self, session: Session, sessions: Sequence[Session]) -> bool:
        return session.instance == self._serving or all(one.instance != self._serving for one in sessions)

    async def _take_back(self, state: TypeState, sessions: list[Session]) -> None:
        """Another module refused what these have accepted."""
        for session in sessions:
            if state.sequence == 0:
                session.close()
                continue
            try:
                await session.replay(state)
            except (RejectedError, LostError) as error:
                _log.error("module %s does not take back the state before: %s", session.instance, error)
                session.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._connections[task] = writer
        try:
            session = await self._greet(reader, writer)
            if session is not None:
                await self._serve(session, reader)
        except (frames.FrameError, ConnectionError) as error:
            _log.warning("policy channel: %s", error)
        finally:
            del self._connections[task]
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Session | None:
        hello = {"protocol": frames.PROTOCOL, "epoch": self.epoch, "required_types": self._required}
        writer.write(frames.encode(server_hello=hello))
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT):
                frame = await frames.read(reader)
        except TimeoutError:
            raise frames.FrameError(f"no hello from a module within {_HELLO_TIMEOUT:g} s") from None
        if frame is None:
            return None
        if frame.WhichOneof("kind") != "module_hello":
            raise frames.FrameError(f"a module began with {frame.WhichOneof('kind')} instead of its hello")
        if frame.module_hello.protocol != frames.PROTOCOL:
            raise frames.FrameError(
                f"a module speaks protocol {frame.module_hello.protocol}, here is {frames.PROTOCOL}"
            )
        session = Session(writer, frame.module_hello, self._result_timeout)
        for state in self._states.values():
            session.greet(state, self.epoch)
        return session

    async def _serve(self, session: Session, reader: asyncio.StreamReader) -> None:
        _log.info("module %s connected", session.instance)
        receiving = asyncio.create_task(session.receive(reader))
        self._sessions.add(session)
        self._somebody.set()
        try:
            for state in self._states.values():
                async with state.lock:
                    await session.replay(state)
            await receiving
        except RejectedError as error:
            # It keeps what it had; changes are still offered to it.
            _log.error("module %s refuses the state in force: %s", session.instance, error)
            await receiving
        except LostError:
            await receiving
        finally:
            receiving.cancel()
            session.close()
            self._drop(session)
            _log.info("module %s disconnected", session.instance)

    def _drop(self, session: Session) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._somebody.clear()
