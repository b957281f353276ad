"""Header and metadata matchers against Envoy's own: its RBAC filter judges the same requests by the same matchers."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cilium_proxy.api import from_dict
from cilium_proxy.policy import PolicyMap
from cilium_proxy.testing.vectors import http_proxy

from . import policies as world

Json = dict[str, Any]

ENDPOINT = "10.1.2.3"
MATCHERS = 400
REQUESTS = 12
METADATA = 6
"""Sets of metadata, each with an Envoy of its own."""
FEATURES = {"re2_use_latin1_mode": False, "rbac_match_headers_individually": False, "match_headers_individually": False}
"""What policies mean differs from this Envoy's newer ways: expressions match characters, not bytes, and a header's
values are one text."""
RUNTIME = json.dumps(
    {
        "layered_runtime": {
            "layers": [
                {
                    "name": "features",
                    "static_layer": {f"envoy.reloadable_features.{name}": on for name, on in FEATURES.items()},
                }
            ]
        }
    }
)
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

# Names that Envoy keeps in a place of their own, and `host`, which it keeps as `:authority`.
NAMES = [*world.HEADERS, "user-agent", "Host"]
header_matchers = st.one_of(
    world.header_matcher(":path", world.PATHS[:-1]),
    world.header_matcher(":method", world.METHODS),
    world.header_matcher(":authority", world.VALUES),
    *(world.header_matcher(name, world.VALUES) for name in NAMES),
)


def listener(address: tuple[str, int], permissions: list[Json], metadata: Json) -> Any:
    """Answers 200 where the permission that the request names by `x-route` holds, else 403."""
    routes = [
        {
            "match": {"prefix": "/", "headers": [{"name": "x-route", "string_match": {"exact": str(number)}}]},
            "direct_response": {"status": 200},
            "typed_per_filter_config": {
                "rbac": {
                    "@type": f"{_HTTP}.rbac.v3.RBACPerRoute",
                    "rbac": {"rules": {"policies": {"p": {"permissions": [one], "principals": [{"any": True}]}}}},
                }
            },
        }
        for number, one in enumerate(permissions)
    ]
    values = [{"metadata_namespace": name, "value": value} for name, value in metadata.items()]
    manager = {
        "@type": f"type.googleapis.com/{_MANAGER}",
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "values", "typed_config": {"@type": f"{_HTTP}.set_metadata.v3.Config", "metadata": values}},
            {"name": "rbac", "typed_config": {"@type": f"{_HTTP}.rbac.v3.RBAC"}},
            {"name": "router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}},
        ],
    }
    return from_dict(
        "envoy.config.listener.v3.Listener",
        {
            "name": "matchers",
            "address": {"socket_address": {"address": address[0], "port_value": address[1]}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        },
    )


def message(number: int, headers: list[tuple[str, bytes]]) -> bytes:
    first = dict(headers)
    lines = [b"%s %s HTTP/1.1" % (first[":method"], first[":path"]), b"host: " + first[":authority"]]
    lines += [name.encode() + b": " + value for name, value in headers if not name.startswith(":")]
    return b"\r\n".join([*lines, b"x-route: %d" % number, b"", b""])


async def envoy_answers(permissions: list[Json], metadata: Json, asked: list[tuple[int, Any]]) -> list[bool]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()

    def listeners(_log: Path) -> list[Any]:
        return [listener(address, permissions, metadata)]

    async with http_proxy.start(listeners, lambda _log: [], extra=["--config-yaml", RUNTIME], required=()) as proxy:
        await proxy.ready()
        reader, writer = await asyncio.open_connection(*address)
        statuses = []
        # One by one: Envoy takes requests that do not wait for its own answers as a flood.
        for number, headers in asked:
            writer.write(message(number, headers))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=http_proxy.START)
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            statuses.append(head.split(b" ")[1])
        writer.close()
    assert set(statuses) <= {b"200", b"403"}, set(statuses)
    return [status == b"200" for status in statuses]


def request(chance: random.Random) -> list[tuple[str, bytes]]:
    """As HTTP/1.1 carries it: values without white space at their ends, and a path."""
    headers = [
        (":method", chance.choice(world.METHODS).encode()),
        (":path", chance.choice(world.PATHS[:-1]).encode()),
        (":authority", chance.choice([b"one", b"12", b"1", b"two"])),
    ]
    for name in NAMES[:-1]:
        # Envoy itself makes one of repeated ones that it knows by name, as it reads the request.
        count = chance.choice([0, 1, 1, 1 if name == "user-agent" else 2])
        headers += [(name.lower(), chance.choice(world.ALL_VALUES).strip()) for _ in range(count)]
    return headers


def sample(strategy: st.SearchStrategy[Json], count: int) -> list[Json]:
    """Values of a strategy, all different."""
    found: list[Json] = []

    @settings(
        max_examples=count,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Json) -> None:
        found.append(value)

    collect()
    return found


def test_header_matchers_hold_where_envoys_do() -> None:
    matchers = sample(header_matchers, MATCHERS)
    chance = random.Random(len(matchers))
    asked = [(number, request(chance)) for number in range(len(matchers)) for _ in range(REQUESTS)]
    engine = PolicyMap()
    ports = [
        {"port": number + 1, "rules": [{"http_rules": {"http_rules": [{"headers": [matcher]}]}}]}
        for number, matcher in enumerate(matchers)
    ]
    engine.update([{"endpoint_ips": [ENDPOINT], "endpoint_id": 1, "ingress_per_port_policies": ports}], version="1")
    wanted = asyncio.run(envoy_answers([{"header": matcher} for matcher in matchers], {}, asked))
    for (number, headers), allowed in zip(asked, wanted, strict=True):
        got = engine.http(endpoint=ENDPOINT, direction="ingress", remote=1, port=number + 1, headers=headers)
        if got.reason.endswith("is not UTF-8"):
            # Envoy of old lets the opposite of an expression hold for what the expression cannot judge.
            assert not got.allowed
            continue
        assert got.allowed == allowed, f"Envoy says {allowed}, the engine: {got.reason}\n{matchers[number]}\n{headers}"


def test_metadata_matchers_hold_where_envoys_do() -> None:
    matchers = sample(world.metadata_matchers, MATCHERS)
    engine = PolicyMap()
    ports = [
        {
            "port": number + 1,
            "rules": [{"l7_proto": "p", "l7_rules": {"l7_allow_rules": [{"metadata_rule": [matcher]}]}}],
        }
        for number, matcher in enumerate(matchers)
    ]
    engine.update([{"endpoint_ips": [ENDPOINT], "endpoint_id": 1, "ingress_per_port_policies": ports}], version="1")
    plain = [(":method", b"GET"), (":path", b"/"), (":authority", b"host")]
    asked = [(number, plain) for number in range(len(matchers))]
    for seed in range(METADATA):
        values = world.metadata(random.Random(seed))
        wanted = asyncio.run(envoy_answers([{"metadata": matcher} for matcher in matchers], values, asked))
        for number, allowed in enumerate(wanted):
            got = engine.metadata(endpoint=ENDPOINT, direction="ingress", remote=1, port=number + 1, metadata=values)
            assert got.allowed == allowed, (
                f"Envoy says {allowed}, the engine: {got.reason}\n{matchers[number]}\n{values}"
            )
