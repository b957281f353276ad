"""The transport sockets `cilium.tls_wrapper`: policy decides per connection whether it is TLS, and with which context.

The reference's socket asks policy when the connection exists. Stock sockets are chosen before, by name:

Downstream. `cilium.bpf_metadata` knows the verdict when it accepts the connection. Where it is a TLS context, it
changes the transport protocol that `tls_inspector` detected from `tls` to `cilium:<context>`. A filter chain with the
wrapper becomes one chain per known context, which matches that protocol and has a stock TLS socket, and the raw chain:
the original one without socket, for connections whose verdict is raw. In such a listener no other chain may take what
is meant for a context that is not known (yet): chains that match every transport protocol are bound to those Envoy
detects itself. What then matches no chain is closed.

Upstream. `cilium.bpf_metadata` leaves the verdict, `raw` or the context's name, in the connection's filter state
`VERDICT`; the stock filter `set_filter_state` shares it with the upstream connection, whose transport socket the
cluster's matcher picks by it. With anything else there, or nothing, the connection gets a socket that never succeeds:
nothing leaves in plaintext that policy did not call raw.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import InvalidAnyError, from_dict, messages, pack, type_url, unpack
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.cilium.options import TlsContexts
from cilium_proxy.rewrite.dynamic_module import METADATA, NETWORK_FILTER

VERDICT = "cilium.tls.upstream"
"""Key of the filter state in which the listener filter leaves the upstream verdict."""

RAW = "raw"
_SHARED = "cilium.tls.upstream.shared"
_REFUSED = "refused"
_DETECTED = ("raw_buffer", "tls")

_DOWNSTREAM = type_url("cilium.DownstreamTlsWrapperContext")
_UPSTREAM = type_url("cilium.UpstreamTlsWrapperContext")
_CHAIN = "envoy.config.listener.v3.FilterChain"
_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_INPUT = "envoy.extensions.matching.common_inputs.transport_socket.v3.FilterStateInput"
_ACTION = "envoy.extensions.matching.common_inputs.transport_socket.v3.TransportSocketNameAction"
_SET_FILTER_STATE = "envoy.extensions.filters.network.set_filter_state.v3.Config"


def transport_protocol(context: str) -> str:
    """What the listener filter says was detected, for a downstream connection with that TLS context."""
    return f"cilium:{context}"


def refuse(url: str, path: tuple[str, ...]) -> None:
    """Raises RewriteError for the type URL of a wrapper: those in places that can be served are gone before."""
    if url in (_DOWNSTREAM, _UPSTREAM):
        raise RewriteError(path, "cilium.tls_wrapper is not supported here, only as the socket of a chain or cluster")


# Downstream.


def split_chains(listener: Any, contexts: TlsContexts, path: tuple[str, ...]) -> bool:
    """Makes raw and TLS chains of those with the wrapper; tells whether there were any.

    Raises RewriteError where chains are not chosen by their match alone.
    """
    if _wrapped(listener.default_filter_chain, _DOWNSTREAM):
        raise RewriteError((*path, "default_filter_chain"), "cilium.tls_wrapper needs a chain that matches something")
    if not any(_wrapped(chain, _DOWNSTREAM) for chain in listener.filter_chains):
        return False
    if listener.HasField("filter_chain_matcher") or listener.HasField("default_filter_chain"):
        raise RewriteError(
            path, "cilium.tls_wrapper cannot be used along with filter_chain_matcher or default_filter_chain"
        )
    chains = [made for chain in listener.filter_chains for made in _chains(chain, listener.filter_chains, contexts)]
    for chain in chains:
        _share_verdict(chain)
    del listener.filter_chains[:]
    listener.filter_chains.extend(chains)
    _choose(listener, path)
    return True


def _choose(listener: Any, path: tuple[str, ...]) -> None:
    """Has the metadata filter choose among the chains, before it is rewritten itself. Raises RewriteError."""
    for item in listener.listener_filters:
        if item.typed_config.type_url == METADATA:
            try:
                metadata: Any = unpack(item.typed_config)
            except InvalidAnyError as error:
                raise RewriteError((*path, "listener_filters"), str(error)) from error
            metadata.tls_chains = True
            item.typed_config.CopyFrom(pack(metadata))


def _wrapped(holder: Any, url: str) -> bool:
    return bool(holder.transport_socket.typed_config.type_url == url)


def _chains(chain: Any, others: Any, contexts: TlsContexts) -> list[Any]:
    """What a chain of the listener becomes."""
    wrapped = _wrapped(chain, _DOWNSTREAM)
    if not wrapped and chain.filter_chain_match.transport_protocol:
        return [chain]
    made = [_copy(chain, protocol) for protocol in _protocols(chain, others)]
    if wrapped:
        for copy in made:
            copy.ClearField("transport_socket")
        for name, context in sorted(contexts.downstream.items()):
            copy = _copy(chain, transport_protocol(name))
            copy.transport_socket.name = "envoy.transport_sockets.tls"
            copy.transport_socket.typed_config.CopyFrom(pack(context))
            made.append(copy)
    return made


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


def _share_verdict(chain: Any) -> None:
    """Puts the filter that shares the verdict behind `cilium.network`, the first that may refuse the connection."""
    value = {
        "object_key": _SHARED,
        # Upstream connections are only shared between connections with the same value.
        "factory_key": "envoy.hashable_string",
        "format_string": {"text_format_source": {"inline_string": f"%FILTER_STATE({VERDICT}:PLAIN)%"}},
        "read_only": True,
        "shared_with_upstream": "ONCE",
        "skip_if_empty": True,
    }
    for index, item in enumerate(chain.filters):
        if item.name == NETWORK_FILTER:
            share = type(item)(name="envoy.filters.network.set_filter_state")
            share.typed_config.CopyFrom(pack(from_dict(_SET_FILTER_STATE, {"on_new_connection": [value]})))
            chain.filters.insert(index + 1, share)
            return


# Upstream.


def guard_cluster(cluster: Any, contexts: TlsContexts, path: tuple[str, ...]) -> bool:
    """Replaces the wrapper by sockets and a matcher that picks one; tells whether the cluster had it.

    Raises RewriteError when the cluster already picks its sockets in another way.
    """
    if not _wrapped(cluster, _UPSTREAM):
        return False
    if cluster.transport_socket_matches or cluster.HasField("transport_socket_matcher"):
        raise RewriteError(path, "cilium.tls_wrapper cannot be used along with transport_socket_matches")
    cluster.ClearField("transport_socket")
    sockets = {RAW: messages(_RAW_BUFFER)(), **dict(sorted(contexts.upstream.items())), _REFUSED: _failing()}
    for name, socket in sockets.items():
        match = cluster.transport_socket_matches.add(name=name)
        match.transport_socket.name = f"envoy.transport_sockets.{'raw_buffer' if name == RAW else 'tls'}"
        match.transport_socket.typed_config.CopyFrom(pack(socket))
    matcher = {
        "matcher_tree": {
            "input": {"name": "verdict", "typed_config": {"@type": type_url(_INPUT), "key": _SHARED}},
            "exact_match_map": {"map": {name: _action(name) for name in sockets}},
        },
        "on_no_match": _action(_REFUSED),
    }
    cluster.transport_socket_matcher.CopyFrom(from_dict("xds.type.matcher.v3.Matcher", matcher))
    return True


def _action(name: str) -> dict[str, Any]:
    return {"action": {"name": name, "typed_config": {"@type": type_url(_ACTION), "name": name}}}


def _failing() -> Any:
    """A TLS context that accepts no certificate, since none has this hash."""
    return from_dict(_TLS, {"common_tls_context": {"validation_context": {"verify_certificate_hash": ["00" * 32]}}})
