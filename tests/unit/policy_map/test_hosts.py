from __future__ import annotations

import ipaddress

import pytest

from cilium_proxy import api
from cilium_proxy.policy import HostMap, InvalidQuery, PolicyRejected


def hosts(identity: int, *addresses: str) -> dict[str, object]:
    return {"policy": identity, "host_addresses": list(addresses)}


def test_the_longest_prefix_counts() -> None:
    found = HostMap()
    found.update([hosts(1, "10.0.0.0/8"), hosts(2, "10.1.0.0/16"), hosts(3, "10.1.2.3", "f00d::/16")])
    assert [found.resolve(a) for a in ("10.9.9.9", "10.1.9.9", "10.1.2.3", "f00d::1", "192.0.2.1")] == [
        1,
        2,
        3,
        3,
        None,
    ]
    assert found.resolve(ipaddress.ip_address("10.1.2.3")) == 3


def test_differences_replace_by_identity() -> None:
    found = HostMap()
    found.update([hosts(1, "10.0.0.1"), hosts(2, "10.0.0.2")])
    found.update([hosts(1, "10.0.0.3")], removed=[2], delta=True)
    assert [found.resolve(f"10.0.0.{last}") for last in (1, 2, 3)] == [None, None, 1]


def test_messages_and_bytes_are_taken() -> None:
    found = HostMap()
    message = api.from_dict("cilium.NetworkPolicyHosts", hosts(5, "10.0.0.5"))
    found.update([message, api.from_dict("cilium.NetworkPolicyHosts", hosts(6, "10.0.0.6")).SerializeToString()])
    assert (found.resolve("10.0.0.5"), found.resolve("10.0.0.6")) == (5, 6)


@pytest.mark.parametrize(
    "resource",
    [
        hosts(1, "10.0.0.1/33"),
        hosts(1, "10.0.0.1/8"),
        hosts(1, "nowhere"),
        {"polic": 1},
        b"\xff",
        17,
        api.messages("cilium.L7Policy")(),
    ],
)
def test_a_refused_update_changes_nothing(resource: object) -> None:
    found = HostMap()
    found.update([hosts(7, "10.0.0.7")])
    with pytest.raises(PolicyRejected):
        found.update([hosts(8, "10.0.0.8"), resource])  # type: ignore[list-item]
    assert (found.resolve("10.0.0.7"), found.resolve("10.0.0.8")) == (7, None)


def test_removed_identities_belong_to_differences() -> None:
    with pytest.raises(PolicyRejected, match="delta=True"):
        HostMap().update([], removed=[1])


def test_what_is_no_address_raises() -> None:
    with pytest.raises(InvalidQuery, match="nowhere"):
        HostMap().resolve("nowhere")
