"""Resources of a Cilium agent, made fit for stock Envoy.

`rewrite` is the way in; one file per extension holds what becomes of it. No I/O, no state.
"""

from cilium_proxy.rewrite.cilium.resource import RewriteError, Rewritten, rewrite

__all__ = ["RewriteError", "Rewritten", "rewrite"]
