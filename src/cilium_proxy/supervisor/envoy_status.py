"""What a supervisor says about its Envoys."""

from __future__ import annotations

from typing import Any

from cilium_proxy.supervisor.process import envoy_pid
from cilium_proxy.supervisor.supervisor import Supervisor


def describe(supervisor: Supervisor, now: float) -> dict[str, Any]:
    """JSON form. `restarts` counts those after crashes; `retiring` are Envoys that another took over from."""
    serving = supervisor.serving
    alive = serving is not None and serving.process.running
    return {
        "pid": envoy_pid(serving.process) if serving is not None else None,
        "uptime": round(now - serving.process.started_at, 3) if serving is not None and alive else None,
        "epoch": serving.generation.epoch if serving is not None and serving.generation is not None else None,
        "restarts": supervisor.crashes,
        "last_exit": supervisor.last_exit,
        "restart_error": supervisor.restart_error,
        "retiring": [pid for one in supervisor.retired if (pid := envoy_pid(one.process)) is not None],
    }
