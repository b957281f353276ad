"""Numbers of identities, and which addresses CIDR rules select, against brute force with `ipaddress`."""

import ipaddress
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy.policy.compile import Allocator, Compiled
from cilium_proxy.policy.compile.identities import Identities, NumberedIdentity
from cilium_proxy.policy.compile.rule import CidrRule, Peers, contains

Network = ipaddress.IPv4Network
WORLD = Network("10.0.0.0/24")


@st.composite
def networks(draw: st.DrawFn, within: Network = WORLD) -> Network:
    """A small world, so that prefixes meet often."""
    length = draw(st.integers(within.prefixlen, 32))
    offset = draw(st.integers(0, within.num_addresses - 1))
    return ipaddress.IPv4Network((int(within.network_address) + offset, length), strict=False)


@st.composite
def cidr_rules(draw: st.DrawFn) -> CidrRule:
    prefix = draw(networks())
    return CidrRule(prefix, tuple(draw(st.lists(networks(within=prefix), max_size=3))))


@given(st.lists(cidr_rules(), min_size=1, max_size=5), st.integers(0, 255), st.sets(st.integers(0, 255), max_size=3))
def test_cidr_rules_select_addresses_in_the_prefix_but_not_in_except(
    rules: list[CidrRule], offset: int, owned: set[int]
) -> None:
    base = int(ipaddress.IPv4Address("10.0.0.0"))
    claims = [Network((base + number, 32)) for number in owned]
    prefixes = {prefix for rule in rules for prefix in (rule.prefix, *rule.excluded)}
    allocator = Allocator()
    outside = [prefix for prefix in prefixes if not any(contains(claim, prefix) for claim in claims)]
    found = [NumberedIdentity(256, {"k8s:app": "x"}, tuple(claims))] if claims else []
    found += [
        NumberedIdentity(number, {"reserved:world": ""}, (prefix,))
        for prefix, number in allocator.prefixes(outside).items()
    ]
    identities = Identities(tuple(found))
    address = ipaddress.IPv4Address(base + offset)
    for rule in rules:
        expected = (
            address in rule.prefix
            and not any(address in excluded for excluded in rule.excluded)
            and offset not in owned
        )
        selected = identities.selected(Peers(cidrs=(rule,)))
        assert selected is not None
        assert (identities.resolve(str(address)) in selected) is expected


def test_numbers_are_given_in_sorted_order_whatever_the_order_of_the_input() -> None:
    labels = [(("k8s:app", name),) for name in "dacb"]
    numbers = Allocator().labelled(dict.fromkeys(labels))
    assert numbers == {(("k8s:app", name),): 256 + index for index, name in enumerate("abcd")}


def test_numbers_stay_when_others_come_and_go() -> None:
    allocator = Allocator()
    b = (("k8s:app", "b"),)
    assert allocator.labelled({b: None}) == {b: 256}
    a = (("k8s:app", "a"),)
    assert allocator.labelled({a: None, b: None}) == {a: 257, b: 256}
    assert allocator.labelled({a: None}) == {a: 257}
    assert allocator.labelled({b: None}) == {b: 256}


def test_prefixes_keep_their_numbers_and_have_the_local_scope() -> None:
    allocator = Allocator()
    first = ipaddress.ip_network("10.0.0.0/8")
    assert allocator.prefixes([first]) == {first: 1 << 24 | 1}
    second = ipaddress.ip_network("fd00::/8")
    assert allocator.prefixes([second, ipaddress.ip_network("1.0.0.0/8"), first])[first] == 1 << 24 | 1


def test_a_number_asked_for_is_given_and_kept_free() -> None:
    a, b = (("k8s:app", "a"),), (("k8s:app", "b"),)
    assert Allocator().labelled({a: None, b: 256}) == {a: 257, b: 256}


def test_equal_labels_share_a_number_and_their_addresses(compiled: Callable[..., Compiled]) -> None:
    result = compiled(
        config="endpoints:\n- {name: a, labels: {app: x}, ips: [10.0.0.1]}\n"
        "- {name: b, labels: {app: x}, ips: [10.0.0.2]}\n"
    )
    identity = result.identities.named("a")
    assert identity is result.identities.named("b")
    assert result.hosts == {"256": {"policy": 256, "host_addresses": ["10.0.0.1", "10.0.0.2"]}}
    assert [result.resources[name]["endpoint_id"] for name in ("a", "b")] == [1, 2]


def test_reserved_labels_have_ciliums_numbers(compiled: Callable[..., Compiled]) -> None:
    identities = compiled().identities
    assert identities.resolve("10.0.0.254") == 1
    assert identities.resolve("8.8.8.8") == 2
    assert identities[6].labels == {"reserved:remote-node": ""}


def test_an_api_server_is_a_remote_node_too(asked: Callable[..., object], cnp: Callable[..., str]) -> None:
    config = (
        "endpoints: [{name: api, ips: [10.0.0.1]}]\npolicies: [policies]\nidentities:\n"
        "- {name: master, labels: {'reserved:kube-apiserver': ''}, cidrs: [10.0.0.9]}\n"
        "- {name: node, labels: {'reserved:remote-node': ''}, cidrs: [10.0.0.8]}\n"
    )
    spec = "endpointSelector: {{}}\ningress: [{{fromEntities: [{0}]}}]\n"
    for entity, allowed in (("remote-node", ["master", "node"]), ("kube-apiserver", ["master"])):
        engine = asked(cnp(spec.format(entity)), config=config)
        assert [peer for peer in ("master", "node") if engine.ingress(peer, "api")] == allowed  # type: ignore[attr-defined]


def test_the_longest_prefix_wins(compiled: Callable[..., Compiled], cnp: Callable[..., str]) -> None:
    spec = "endpointSelector: {}\ningress: [{fromCIDRSet: [{cidr: 192.0.2.0/24, except: [192.0.2.128/25]}]}]\n"
    result = compiled(cnp(spec))
    inside, outside = result.identities.resolve("192.0.2.1"), result.identities.resolve("192.0.2.200")
    assert {inside, outside} == {1 << 24 | 1, 1 << 24 | 2}
    assert result.hosts[str(inside)]["host_addresses"] == ["192.0.2.0/24"]
    assert result.hosts[str(outside)]["host_addresses"] == ["192.0.2.128/25"]
    (entry,) = result.resources["api"]["ingress_per_port_policies"]
    assert entry["rules"][0]["remote_policies"] == [inside]


def test_cidr_rules_do_not_select_configured_identities(asked: Callable[..., object], cnp: Callable[..., str]) -> None:
    spec = "endpointSelector: {}\ningress: [{fromCIDR: [0.0.0.0/0, 10.1.0.0/25, 10.0.0.2]}]\n"
    engine = asked(cnp(spec))
    assert engine.ingress("8.8.8.8", "api")  # type: ignore[attr-defined]
    assert not engine.ingress("10.1.0.5", "api")  # type: ignore[attr-defined]
    assert not engine.ingress("10.0.0.2", "api")  # type: ignore[attr-defined]


def test_a_taken_number_is_a_problem(problems: Callable[..., list[str]]) -> None:
    config = (
        "endpoints:\n- {name: a, labels: {app: x}, ips: [10.0.0.1], identity: 300}\n"
        "- {name: b, labels: {app: y}, ips: [10.0.0.2], identity: 300}\n"
    )
    (problem,) = problems(config=config)
    assert "identity: 300 is in use for other labels; choose another number" in problem
