"""Cases about parts of the L7 parsers: rules of Kafka, keys of memcache's binary protocol, the library's parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cilium_proxy import _core
from cilium_proxy.policy import PolicyMap
from cilium_proxy.testing.vectors.result import Failure, Result

Case = dict[str, Any]


def run(case: Case) -> Result:
    """Runs one case."""
    result = Result(str(case.get("name", "unnamed")))
    checks = {"kafka_rule_match": _kafka_rules, "memcached_binary_key": _binary_keys, "open_module": _parameters}
    check = checks.get(str(case.get("kind")))
    if check is None:
        result.unusable = f"unknown kind {case.get('kind')!r}"
        return result
    try:
        result.failures += check(case)
    except KeyError as error:
        result.unusable = f"{error} is missing"
    return result


def _kafka_rules(case: Case) -> Iterator[Failure]:
    for number, one in enumerate(case["cases"], start=1):
        request = one["request"]
        rules = [
            (rule.get("api_version", 0), rule.get("api_keys", []), rule.get("client_id", ""), rule.get("topic", ""))
            for rule in one["rules"]
        ]
        asked = (
            request.get("api_key", 0),
            request.get("api_version", 0),
            request.get("client_id", ""),
            request.get("topics", []),
        )
        yield from _differs(number, "rules", one["expect"], _core.kafka_rules_allow(rules, asked))


def _binary_keys(case: Case) -> Iterator[Failure]:
    for number, one in enumerate(case["cases"], start=1):
        connections = _core.L7Connections(PolicyMap()._snapshot())
        connections.connect(1, "memcache", True, (1, 2), "1.1.1.1:1", "1.1.1.2:1", "", 1024)
        packet = bytearray.fromhex(one["packet_hex"])
        # The lengths are the case's; those in packets of the reference's test do not add up.
        packet[2:4] = one["key_length"].to_bytes(2, "big")
        packet[4] = one["extras_length"]
        packet[8:12] = (len(packet) - 24).to_bytes(4, "big")
        records = connections.on_data(1, False, False, [bytes(packet)], 1)[5]
        generic = records[0][2] if records else None
        yield from _differs(number, "key", one["expect_key"], generic and generic[1]["key"])


def _parameters(case: Case) -> Iterator[Failure]:
    """Equal parameters mean the same instance; an unknown one is refused."""
    opened: dict[str, tuple[str, str, str] | None] = {}
    for number, step in enumerate(case["steps"], start=1):
        try:
            params: tuple[str, str, str] | None = _core.proxylib_params(step["params"])
        except ValueError:
            params = None
        opened[step["as"]] = params
        match step["expect"]:
            case "zero":
                yield from _differs(number, "refused", True, params is None)
            case "nonzero":
                yield from _differs(number, "accepted", True, params is not None)
            case {"same_as": other}:
                yield from _differs(number, "the same", True, params is not None and params == opened[other])
            case {"nonzero_and_differs_from": others}:
                new = params is not None and all(params != opened[other] for other in others)
                yield from _differs(number, "another", True, new)
            case other:
                yield Failure(number, "expect", str(other), "a form that is not known")


def _differs(number: int, what: str, wanted: object, got: object) -> Iterator[Failure]:
    if wanted != got:
        yield Failure(number, what, str(wanted), str(got))
