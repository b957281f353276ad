"""How peers that went away without a word are found out, on both sides."""

from __future__ import annotations

KEEPALIVE = {"keepalive_time": 300, "keepalive_interval": 30, "keepalive_probes": 5}
"""`envoy.config.core.v3.TcpKeepalive`: seconds of silence until a peer is asked whether it is there, seconds between
further questions, and how many of them."""
