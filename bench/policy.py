"""The policy of a benchmark's standalone proxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

LABELS = {"app": "bench"}
"""Of the endpoint."""
CLIENT_LABELS = {"app": "client"}
"""Of the load generator's identity."""


def policy(to_ports: Sequence[dict[str, Any]]) -> str:
    """A CiliumNetworkPolicy, as JSON, with these `toPorts` for the client."""
    spec = {
        "endpointSelector": {"matchLabels": LABELS},
        "ingress": [{"fromEndpoints": [{"matchLabels": CLIENT_LABELS}], "toPorts": list(to_ports)}],
    }
    kind = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "bench"}}
    return json.dumps(kind | {"spec": spec})
