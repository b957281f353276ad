"""What a proxy behind an agent says about itself."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from cilium_proxy.relay.channel import HOSTS, POLICIES
from cilium_proxy.supervisor import envoy_status
from cilium_proxy.version import __version__

if TYPE_CHECKING:
    from cilium_proxy.supervisor.agent import Agent


def describe(proxy: Agent) -> dict[str, Any]:
    """JSON form, with the keys that a standalone proxy has, and `agent`: streams and counts by resource type."""
    now = time.time()
    counts = proxy.forwarder.counts
    errors = [f"{_short(url)}: {one.error}" for url, one in sorted(counts.items()) if one.error]
    connected = any(proxy.client.connected.values())
    return {
        "state": proxy.supervisor.state,
        "version": __version__,
        "pid": os.getpid(),
        "uptime": round(now - proxy.started_at, 3),
        "source": {
            "file": str(proxy.client.socket),
            "state": "refused" if errors else "in force" if connected else "not connected",
            "error": "\n".join(errors) or None,
            "error_at": max((one.error_at for one in counts.values() if one.error), default=None),
            "applied_at": max((one.applied_at for one in counts.values() if one.applied_at), default=None),
            "needs_restart": [],
            "warnings": [],
        },
        "agent": {
            "transport": proxy.client.transport,
            "streams": dict(sorted(proxy.client.connected.items())),
            "types": {
                _short(url): {
                    "version": one.version,
                    "updates": one.updates,
                    "refused": one.refused,
                    "error": one.error,
                }
                for url, one in sorted(counts.items())
            },
        },
        "policies": _type(proxy, POLICIES),
        "hosts": _type(proxy, HOSTS),
        "envoy": envoy_status.describe(proxy.supervisor, now),
        "modules": [
            {
                "instance": session.instance,
                "connected_at": session.connected_at,
                "versions": {_short(url): version for url, version in session.versions.items()},
            }
            for session in proxy.channel.sessions
        ],
        "listeners": [],
    }


def _type(proxy: Agent, url: str) -> dict[str, Any]:
    state = proxy.channel.state(url)
    return {"version": state.version, "resources": len(state.resources), "error": state.error}


def _short(url: str) -> str:
    return url.rpartition(".")[2]
