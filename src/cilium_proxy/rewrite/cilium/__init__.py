"""Resources of a Cilium agent, made fit for stock Envoy.

`rewrite` is the way in; one file per extension holds what becomes of it. No I/O, no state.
"""

from cilium_proxy.rewrite.cilium.bootstrap import AgentBootstrap, read_bootstrap
from cilium_proxy.rewrite.cilium.options import Options, Side, TlsContexts
from cilium_proxy.rewrite.cilium.resource import RewriteError, Rewritten, rewrite, rewrite_message

__all__ = [
    "AgentBootstrap",
    "Options",
    "RewriteError",
    "Rewritten",
    "Side",
    "TlsContexts",
    "read_bootstrap",
    "rewrite",
    "rewrite_message",
]
