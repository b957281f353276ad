"""The upstream socket `cilium.tls_wrapper`: policy decides per connection whether it is TLS, and with which context.

A cluster with it gets a socket for each known context, a raw one, and a matcher that picks by the verdict the
downstream side shares (`tls_verdict`). With any other verdict there, or none, the connection gets a socket that never
succeeds: nothing leaves in plaintext that policy did not call raw.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import from_dict, messages, pack, type_url
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.cilium.options import TlsContexts
from cilium_proxy.rewrite.cilium.tls_verdict import RAW, SHARED
from cilium_proxy.rewrite.cilium.tls_wrapper import is_wrapped_cluster

_REFUSED = "refused"
_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_INPUT = "envoy.extensions.matching.common_inputs.transport_socket.v3.FilterStateInput"
_ACTION = "envoy.extensions.matching.common_inputs.transport_socket.v3.TransportSocketNameAction"


def guard_cluster(cluster: Any, contexts: TlsContexts, path: tuple[str, ...]) -> bool:
    """Replaces the wrapper by sockets and a matcher that picks one; tells whether the cluster had it.

    Raises RewriteError when the cluster already picks its sockets in another way.
    """
    if not is_wrapped_cluster(cluster):
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
            "input": {"name": "verdict", "typed_config": {"@type": type_url(_INPUT), "key": SHARED}},
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
