"""Updates and verdicts through Python: what the binding costs on top of the engine.

Prints a table; each figure is the best of several runs on this machine.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any

from cilium_proxy import api
from cilium_proxy.policy import PolicyMap

ASK: Any = {"endpoint": "10.0.0.1", "direction": "ingress", "remote": 43, "port": 80}


def address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def policy(number: int, ports: int = 1, identities: int = 1, rules: int = 0) -> dict[str, Any]:
    rule: dict[str, Any] = {"remote_policies": list(range(43, 43 + identities))}
    if rules:
        paths = [f"/path/{number}" for number in range(rules)]
        headers = [
            [{"name": ":method", "exact_match": "GET"}, {"name": ":path", "exact_match": path}] for path in paths
        ]
        rule["http_rules"] = {"http_rules": [{"headers": one} for one in headers]}
    entries = [{"port": 80 + port, "rules": [rule]} for port in range(ports)]
    return {"endpoint_ips": [address(number)], "endpoint_id": number, "ingress_per_port_policies": entries}


def serialised(policies: list[dict[str, Any]]) -> list[bytes]:
    return [api.from_dict("cilium.NetworkPolicy", one).SerializeToString() for one in policies]


def best(call: Callable[[], object], repeat: int = 1) -> float:
    """Seconds per call."""
    times = []
    for _ in range(options.runs):
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        times.append((time.perf_counter() - start) / repeat)
    return min(times)


def updates() -> list[tuple[str, str]]:
    simple = [policy(number) for number in range(1, 1001)]
    messages, data = [api.from_dict("cilium.NetworkPolicy", one) for one in simple], serialised(simple)
    rows = []
    for form, resources in (("dictionaries", simple), ("messages", messages), ("bytes", data)):

        def full(resources: Any = resources) -> None:
            PolicyMap().update(resources, version="1")

        rows.append((f"1,000 policies of 1 port, 1 identity, from {form}", milliseconds(best(full))))
    large = serialised([policy(number, ports=20, identities=50, rules=5) for number in range(1, 2001)])
    rows.append(
        (
            "2,000 policies of 20 ports, 50 identities, 5 HTTP rules, from bytes",
            milliseconds(best(lambda: PolicyMap().update(large, version="1"))),
        )
    )
    map_of_many = PolicyMap()
    map_of_many.update(serialised([policy(number) for number in range(1, 10_001)]), version="1")
    changes = [serialised([policy(7, identities=count)]) for count in (2, 3)]
    state = iter(range(10**9))

    def change() -> None:
        map_of_many.update(changes[next(state) % 2], version="2", delta=True)

    rows.append(("1 change among 10,000 policies, from bytes", milliseconds(best(change, 20))))
    return rows


def verdicts() -> list[tuple[str, str]]:
    rows = []
    for rules in (0, 10, 1000):
        policies = PolicyMap()
        policies.update(serialised([policy(number, rules=rules) for number in range(1, 101)]), version="1")
        path = f"/path/{max(rules - 1, 0)}"
        headers = [
            (":method", "GET"),
            (":path", path),
            (":authority", "api"),
            ("user-agent", "bench"),
            ("accept", "*/*"),
        ]
        allowed = best(lambda p=policies, h=headers: p.http(**ASK, headers=h), 2000)  # type: ignore[misc]
        denied = best(lambda p=policies: p.http(**{**ASK, "remote": 2}, headers=[(":path", "/")]), 2000)  # type: ignore[misc]
        rows.append((f"http, allowed by the last of {rules} HTTP rules", microseconds(allowed)))
        rows.append((f"http, denied to the remote of {rules} HTTP rules", microseconds(denied)))
        if not rules:
            rows.append(("network, allowed", microseconds(best(lambda p=policies: p.network(**ASK), 2000))))  # type: ignore[misc]
    explained = best(lambda: policies.explain(**ASK, headers=headers), 20)
    rows.append(("explain, 1,000 HTTP rules", microseconds(explained)))
    return rows


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:10.2f} ms"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:10.2f} us"


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, best of {options.runs} runs")
    for title, rows in (("update", updates()), ("verdict", verdicts())):
        print(f"\n{title}")
        for what, figure in rows:
            print(f"  {what:<68}{figure}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
parser.add_argument("--quick", dest="runs", action="store_const", const=1, help="one run each")
options = parser.parse_args()

if __name__ == "__main__":
    main()
