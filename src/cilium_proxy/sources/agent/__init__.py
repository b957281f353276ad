"""The Cilium agent as source of state: an xDS client.

It opens streams, keeps them open, and answers; what becomes of the resources is the sink's business.
"""

from cilium_proxy.sources.agent.client import AgentClient
from cilium_proxy.sources.agent.update import RefusedError, Sink, Update

__all__ = ["AgentClient", "RefusedError", "Sink", "Update"]
