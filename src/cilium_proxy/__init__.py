"""The Cilium proxy.

`policy` answers questions about policies offline, `testing` is for users' tests, the rest is the proxy itself.
"""

from cilium_proxy.version import __version__

__all__ = ["__version__"]
