"""The check every peer does: ten rules of a method and a path pattern; the benchmark's request matches the last one."""

from __future__ import annotations

RULES: list[tuple[str, str]] = [
    *(
        (method, f"/api/v[0-9]+/{kind}/[0-9]+")
        for kind in ("users", "orders", "carts")
        for method in ("GET", "PUT", "DELETE")
    ),
    ("GET", "/api/v[0-9]+/items/[0-9]+"),
]
"""Method and regular expression of the whole path."""

ALLOWED_PATH = "/api/v1/items/42"
DENIED_PATH = "/api/v1/secrets/42"
