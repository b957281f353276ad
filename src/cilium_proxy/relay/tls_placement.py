"""Brings the TLS contexts that policies use into Envoy, and tells the module what there is.

The module chooses chains and sockets by the context's name when a connection comes: they must be there before the
policy is. A context whose secrets have not arrived is left out, so that it holds up nothing but the connections that
need it; the module holds those, and closes them with the reason after a while.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from cilium_proxy.api import messages, serialise
from cilium_proxy.relay.channel import TLS, PolicyChannel
from cilium_proxy.relay.policy_references import Use
from cilium_proxy.relay.resources import SECRETS, ResourceCache
from cilium_proxy.relay.state import RejectedError
from cilium_proxy.rewrite.cilium import Side, TlsContexts
from cilium_proxy.rewrite.cilium.tls_context import TlsContext, is_own

_log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds in which Envoy must have taken a context."""

LINGER = 10.0
"""Seconds for which contexts that no policy uses any more stay, for connections that were just accepted."""


class ContextRefusedError(Exception):
    """Envoy refuses a TLS context. The text is Envoy's."""


class Configuration(Protocol):
    """Who gives Envoy its listeners and clusters."""

    async def use(self, contexts: TlsContexts, secrets: Mapping[str, bytes]) -> str | None:
        """Offers those with these contexts, and secrets beside the source's own; why Envoy refuses them."""

    @property
    def served(self) -> frozenset[Side]:
        """The sides whose contexts Envoy has resources with."""


class TlsPlacement:
    """What is in place. `source`: the `ConfigSource` of secrets, for Envoy."""

    def __init__(self, channel: PolicyChannel, cache: ResourceCache, configuration: Configuration, source: Any) -> None:
        self._channel = channel
        self._cache = cache
        self._configuration = configuration
        self._source = source
        self._lock = asyncio.Lock()
        self._placed: frozenset[Use] = frozenset()
        self._versions = itertools.count(1)
        self._retiring: set[asyncio.Task[None]] = set()
        self.missing: Mapping[str, str] = {}
        """Why contexts that policies use cannot be had yet, by name."""

    async def bring(self, uses: frozenset[Use], secrets: Mapping[str, bytes]) -> dict[str, str]:
        """Brings contexts into place, as far as their `secrets` are there; others stay. Envoy's errors by secret.

        A context whose secret has gone is taken out.

        Raises ContextRefusedError when Envoy refuses one for what a policy itself says; all is as before then. Raises
        RejectedError when the module does not take the news.
        """
        async with self._lock:
            missing = {}
            complete = set()
            for use in uses:
                reason = _missing(use.context, secrets)
                if reason is None:
                    complete.add(use)
                else:
                    missing[use.context.name] = reason
            # Those that are not used any more stay for a while, see `retire`.
            refused = await self._place((self._placed - uses) | complete)
            for use in self._placed:
                for name in _secrets(use.context) & refused.keys():
                    missing[use.context.name] = f'Envoy refuses secret "{name}": {refused[name]}'
            await self._tell(uses | self._placed, missing)
            return refused

    def retire(self, used: Callable[[], frozenset[Use]]) -> None:
        """In a while takes contexts out of Envoy that are not among the used ones then."""
        task = asyncio.create_task(self._retire(used))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def _retire(self, used: Callable[[], frozenset[Use]]) -> None:
        await asyncio.sleep(LINGER)
        async with self._lock:
            uses = used()
            try:
                if not self._placed <= uses:
                    await self._place(self._placed & uses)
                await self._tell(uses, self.missing)
            except (RejectedError, ContextRefusedError) as error:
                _log.warning("TLS contexts that no policy uses stay in Envoy: %s", error)

    async def _place(self, wanted: frozenset[Use]) -> dict[str, str]:
        """Has Envoy have exactly these contexts; Envoy's errors by secret of those that cannot be used for them."""
        before = self._placed
        try:
            async with asyncio.timeout(PATIENCE):
                if wanted != before:
                    await self._configure(wanted)
                refused = await self._refused()
        except TimeoutError:
            raise ContextRefusedError(f"Envoy did not take TLS contexts within {PATIENCE:g} s") from None
        ours = {error for name, error in refused.items() if is_own(name)}
        if ours:
            await self._configure(before)
            raise ContextRefusedError("; ".join(sorted(ours)))
        return refused

    async def _configure(self, wanted: frozenset[Use]) -> None:
        before = self._placed
        refusal = await self._configuration.use(self._contexts(wanted), _own(wanted))
        if refusal is not None:
            await self._configuration.use(self._contexts(before), _own(before))
            raise ContextRefusedError(refusal)
        self._placed = wanted

    async def _refused(self) -> dict[str, str]:
        """Errors of the secrets of what is placed and Envoy has no earlier value of, once it has answered them all."""
        current = self._cache.current(SECRETS)
        if current is None:
            return {}

        def expected() -> frozenset[str]:
            served = self._configuration.served
            return _union(use for use in self._placed if use.side in served)

        answers = await self._cache.answers(current, _union(self._placed), expected)
        return {name: refusal.error for name, refusal in answers.items() if refusal is not None and not refusal.keeps}

    async def _tell(self, uses: Iterable[Use], missing: Mapping[str, str]) -> None:
        names = {use.context.name for use in uses}
        self.missing = {name: reason for name, reason in missing.items() if name in names}
        state = messages("cilium_proxy.v1.TlsContextState")
        states = {name: serialise(state(missing=self.missing.get(name, ""))) for name in sorted(names)}
        if states != self._channel.state(TLS).resources:
            await self._channel.publish(TLS, states, str(next(self._versions)))

    def _contexts(self, uses: frozenset[Use]) -> TlsContexts:
        made: dict[Side, dict[str, Any]] = {"ingress": {}, "egress": {}, "upstream": {}}
        for use in uses:
            make = use.context.upstream if use.side == "upstream" else use.context.downstream
            made[use.side][use.context.name] = make(self._source)
        return TlsContexts(**made)


def _secrets(context: TlsContext) -> frozenset[str]:
    """Names of all secrets that Envoy discovers for a context."""
    return frozenset((*context.discovered, *context.own_secrets))


def _union(uses: Iterable[Use]) -> frozenset[str]:
    return frozenset().union(*(_secrets(use.context) for use in uses))


def _own(uses: Iterable[Use]) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for use in uses:
        made |= use.context.own_secrets
    return made


def _missing(context: TlsContext, secrets: Mapping[str, bytes]) -> str | None:
    """Why a context cannot be had: a secret that is not there, or is another kind of secret."""
    for name, kind, what in context.needed:
        if name not in secrets:
            return f'secret "{name}" has not arrived'
        try:
            secret = messages("envoy.extensions.transport_sockets.tls.v3.Secret").FromString(secrets[name])
        except DecodeError:
            return f'secret "{name}" does not parse'
        if not secret.HasField(kind):
            return f'secret "{name}" has no {what}'
    return None
