"""What a standalone proxy says about itself."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from cilium_proxy.relay.channel import HOSTS, POLICIES, SECRETS
from cilium_proxy.supervisor import envoy_status
from cilium_proxy.version import __version__

if TYPE_CHECKING:
    from cilium_proxy.supervisor.standalone import Standalone


def describe(proxy: Standalone) -> dict[str, Any]:
    """JSON form. Times are seconds: `*_at` since the Unix epoch, `uptime` and `age` until now."""
    now = time.time()
    return {
        "state": proxy.supervisor.state,
        "version": __version__,
        "pid": os.getpid(),
        "uptime": round(now - proxy.started_at, 3),
        "source": {
            "file": str(proxy.source.file),
            "state": "applying" if proxy.applying else "refused" if proxy.problem else "in force",
            "error": proxy.problem,
            "error_at": proxy.problem_at,
            "applied_at": proxy.applied_at,
            "needs_restart": proxy.needs_restart,
            "warnings": [str(warning) for warning in proxy.warnings],
        },
        "policies": _type(proxy, POLICIES),
        "hosts": _type(proxy, HOSTS),
        "secrets": _type(proxy, SECRETS),
        "envoy": envoy_status.describe(proxy.supervisor, now),
        "access_log": proxy.access_log.statistics(),
        "modules": [
            {
                "instance": session.instance,
                "age": round(now - session.connected_at, 3),
                "versions": {url.rpartition(".")[2]: version for url, version in sorted(session.versions.items())},
            }
            for session in proxy.channel.sessions
        ],
        "listeners": [
            {
                "name": listener.name,
                "direction": listener.direction,
                "address": str(listener.address),
                "endpoint": listener.endpoint,
                "upstream": str(listener.upstream),
                "protocol": listener.protocol,
            }
            for listener in proxy.config.listeners
        ],
    }


def _type(proxy: Standalone, url: str) -> dict[str, Any]:
    state = proxy.channel.state(url)
    return {"version": state.version, "resources": len(state.resources), "error": state.error}
