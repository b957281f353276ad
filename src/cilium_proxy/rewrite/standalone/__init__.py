"""Envoy's configuration in standalone mode: the bootstrap, and a listener and a cluster for each in proxy.yaml.

Nothing here depends on policies, so that a policy edit never touches listeners or connections.
"""

from cilium_proxy.rewrite.standalone.bootstrap import Bootstrap, bootstrap
from cilium_proxy.rewrite.standalone.cluster import cluster
from cilium_proxy.rewrite.standalone.listener import listener

__all__ = ["Bootstrap", "bootstrap", "cluster", "listener"]
