"""The downstream socket `cilium.tls_wrapper`: policy decides per connection whether it is TLS, and with which context.

The reference's socket asks policy when the connection exists. Stock sockets are chosen before, by the chain's match.
`cilium.bpf_metadata` knows the verdict when it accepts the connection. Where it is a TLS context, it changes the
transport protocol that `tls_inspector` detected from `tls` to `cilium:<context>`. A chain with the wrapper becomes

- the raw chain: the original one without socket, for connections whose verdict is raw;
- a chain for each known context, which matches its protocol and has a stock TLS socket;
- a chain for `cilium:refused`, in which `cilium.network` logs the reason and closes.

In such a listener no other chain may take what is meant for a context that is not known (yet): chains that match every
transport protocol are bound to those Envoy detects itself. What then matches no chain is closed.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import InvalidAnyError, messages, pack, type_url, unpack
from cilium_proxy.rewrite.cilium import tls_verdict
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.cilium.options import Side, TlsContexts
from cilium_proxy.rewrite.dynamic_module import METADATA, NETWORK_FILTER

HANDSHAKE_TIMEOUT = 10
"""Seconds in which a client must have finished its TLS handshake."""

_REFUSED = "refused"
_DETECTED = ("raw_buffer", "tls")
_DOWNSTREAM = type_url("cilium.DownstreamTlsWrapperContext")
_UPSTREAM = type_url("cilium.UpstreamTlsWrapperContext")
_CHAIN = "envoy.config.listener.v3.FilterChain"
_DIRECT_RESPONSE = "envoy.extensions.filters.network.direct_response.v3.Config"


def transport_protocol(context: str) -> str:
    """What the listener filter says was detected, for a downstream connection with that TLS context."""
    return f"cilium:{context}"


def is_wrapped_cluster(cluster: Any) -> bool:
    """Whether policy chooses the sockets of a cluster."""
    return _wrapped(cluster, _UPSTREAM)


def refuse(url: str, path: tuple[str, ...]) -> None:
    """Raises RewriteError for the type URL of a wrapper: those in places that can be served are gone before."""
    if url in (_DOWNSTREAM, _UPSTREAM):
        raise RewriteError(path, "cilium.tls_wrapper is not supported here, only as the socket of a chain or cluster")


def split_chains(listener: Any, contexts: TlsContexts, path: tuple[str, ...]) -> Side | None:
    """Makes raw and TLS chains of those with the wrapper; which contexts they have, None if there were none.

    Raises RewriteError where chains are not chosen by their match alone.
    """
    if _wrapped(listener.default_filter_chain, _DOWNSTREAM):
        raise RewriteError((*path, "default_filter_chain"), "cilium.tls_wrapper needs a chain that matches something")
    if not any(_wrapped(chain, _DOWNSTREAM) for chain in listener.filter_chains):
        return None
    if listener.HasField("filter_chain_matcher") or listener.HasField("default_filter_chain"):
        raise RewriteError(
            path, "cilium.tls_wrapper cannot be used along with filter_chain_matcher or default_filter_chain"
        )
    side = _choose(listener, path)
    downstream = contexts.ingress if side == "ingress" else contexts.egress
    chains = []
    for chain in listener.filter_chains:
        # Before the copies are made, which all have the same filters.
        tls_verdict.share(chain, (*path, "filter_chains"), per_request=_wrapped(chain, _DOWNSTREAM))
        chains += _chains(chain, listener.filter_chains, downstream)
    refusing = _refusing(listener.filter_chains)
    del listener.filter_chains[:]
    listener.filter_chains.extend([*chains, *refusing])
    return side


def _choose(listener: Any, path: tuple[str, ...]) -> Side:
    """Has the metadata filter choose among the chains, before it is rewritten itself; the listener's direction.

    Raises RewriteError.
    """
    side: Side = "egress"
    for item in listener.listener_filters:
        if item.typed_config.type_url == METADATA:
            try:
                metadata: Any = unpack(item.typed_config)
            except InvalidAnyError as error:
                raise RewriteError((*path, "listener_filters"), str(error)) from error
            metadata.tls_chains = True
            side = "ingress" if metadata.is_ingress else "egress"
            item.typed_config.CopyFrom(pack(metadata))
    return side


def _wrapped(holder: Any, url: str) -> bool:
    return bool(holder.transport_socket.typed_config.type_url == url)


def _chains(chain: Any, others: Any, downstream: Any) -> list[Any]:
    """What a chain of the listener becomes."""
    wrapped = _wrapped(chain, _DOWNSTREAM)
    if not wrapped and chain.filter_chain_match.transport_protocol:
        return [_copy(chain, chain.filter_chain_match.transport_protocol)]
    made = [_copy(chain, protocol) for protocol in _protocols(chain, others)]
    if wrapped:
        for copy in made:
            copy.ClearField("transport_socket")
        wrapper: Any = unpack(chain.transport_socket.typed_config)
        for name, context in sorted(downstream.items()):
            copy = _copy(chain, transport_protocol(name))
            copy.transport_socket.name = "envoy.transport_sockets.tls"
            copy.transport_socket.typed_config.CopyFrom(pack(_offering(context, wrapper.alpn_protocols)))
            if not copy.HasField("transport_socket_connect_timeout"):
                copy.transport_socket_connect_timeout.seconds = HANDSHAKE_TIMEOUT
            made.append(copy)
    return made


def _offering(context: Any, protocols: Any) -> Any:
    """The context, with these protocols if it names none."""
    if not protocols or context.common_tls_context.alpn_protocols:
        return context
    made = type(context)()
    made.CopyFrom(context)
    made.common_tls_context.alpn_protocols.extend(protocols)
    return made


def _refusing(chains: Any) -> list[Any]:
    """The chain of refused connections, if there is a filter that says why."""
    for chain in chains:
        for item in chain.filters:
            if _wrapped(chain, _DOWNSTREAM) and item.name == NETWORK_FILTER:
                made = messages(_CHAIN)()
                made.filter_chain_match.transport_protocol = transport_protocol(_REFUSED)
                if chain.name:
                    made.name = f"{chain.name} ({transport_protocol(_REFUSED)})"
                made.filters.add().CopyFrom(item)
                # Closes what `cilium.network` has closed already: nothing of a refused connection goes anywhere.
                last = made.filters.add(name="envoy.filters.network.direct_response")
                last.typed_config.CopyFrom(pack(messages(_DIRECT_RESPONSE)()))
                return [made]
    return []


def _protocols(chain: Any, others: Any) -> list[str]:
    """The detected protocols the chain is for: its own, or those that no other chain with the same match takes."""
    own = chain.filter_chain_match.transport_protocol
    if own:
        return [own]
    taken = {
        other.filter_chain_match.transport_protocol
        for other in others
        if other.filter_chain_match.transport_protocol and _same_otherwise(chain, other)
    }
    return [protocol for protocol in _DETECTED if protocol not in taken]


def _same_otherwise(one: Any, other: Any) -> bool:
    matches = []
    for chain in (one, other):
        match = type(chain.filter_chain_match)()
        match.CopyFrom(chain.filter_chain_match)
        match.transport_protocol = ""
        matches.append(match)
    return bool(matches[0] == matches[1])


def _copy(chain: Any, protocol: str) -> Any:
    copy = messages(_CHAIN)()
    copy.CopyFrom(chain)
    copy.filter_chain_match.transport_protocol = protocol
    if copy.name and protocol != chain.filter_chain_match.transport_protocol:
        # Names of chains are unique in a listener.
        copy.name = f"{chain.name} ({protocol})"
    return copy
