"""How soon Envoy asks for the control plane again that it has lost."""

from __future__ import annotations

from typing import Any

# It is on this machine; Envoy's own limit of 30 s would keep a new control plane waiting.
_FIRST, _MOST = "0.1s", "2s"


def reconnect_soon(source: Any) -> None:
    """Sets the pauses of a `envoy.config.core.v3.ApiConfigSource`, unless they are set."""
    for service in source.grpc_services:
        if not service.envoy_grpc.HasField("retry_policy"):
            back_off = service.envoy_grpc.retry_policy.retry_back_off
            back_off.base_interval.FromJsonString(_FIRST)
            back_off.max_interval.FromJsonString(_MOST)
