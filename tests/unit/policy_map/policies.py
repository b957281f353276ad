"""Small policies for the tests of this folder."""

from __future__ import annotations

from typing import Any

ENDPOINT = "10.1.2.3"


def policy(*rules: dict[str, Any], endpoint: str = ENDPOINT, endpoint_id: int = 42, port: int = 80) -> dict[str, Any]:
    return {
        "endpoint_ips": [endpoint],
        "endpoint_id": endpoint_id,
        "ingress_per_port_policies": [{"port": port, "rules": list(rules)}],
    }


def http_rule(path: str, remote: int = 43, **more: Any) -> dict[str, Any]:
    headers = [{"name": ":path", "exact_match": path}]
    return {"name": "http", "remote_policies": [remote], "http_rules": {"http_rules": [{"headers": headers, **more}]}}


def ask(remote: int = 43, port: int = 80) -> dict[str, Any]:
    return {"endpoint": ENDPOINT, "direction": "ingress", "remote": remote, "port": port}
