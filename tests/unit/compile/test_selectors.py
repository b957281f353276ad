"""Label selectors against a naive evaluator."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy.policy.compile.index import LabelIndex
from cilium_proxy.policy.compile.selector import OPERATORS, Requirement, Selector, read_selector
from cilium_proxy.yaml import Fields, Problems, parse

KEYS = st.sampled_from(["app", "tier", "io.kubernetes.pod.namespace"])
VALUES = st.sampled_from(["", "a", "b", "c"])
SOURCES = st.sampled_from(["k8s", "container", "reserved"])
LABELS = st.dictionaries(st.builds("{}:{}".format, SOURCES, KEYS), VALUES, max_size=5)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(OPERATORS))
    values = draw(st.frozensets(VALUES, min_size=1)) if operator in ("In", "NotIn") else frozenset()
    return Requirement(draw(SOURCES | st.just("any")), draw(KEYS), operator, values)  # type: ignore[arg-type]


def naive(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """By the definition in Kubernetes' API, for each label one after the other."""
    present, one_of = False, False
    for label, value in labels.items():
        source, _, key = label.partition(":")
        if key != requirement.key or requirement.source not in ("any", source):
            continue
        present = True
        one_of = one_of or value in requirement.values
    return {"In": one_of, "NotIn": not one_of, "Exists": present, "DoesNotExist": not present}[requirement.operator]


@given(st.lists(requirements(), max_size=4), LABELS)
def test_a_selector_needs_every_requirement(wanted: list[Requirement], labels: dict[str, str]) -> None:
    expected = True
    for requirement in wanted:
        if not naive(requirement, labels):
            expected = False
    assert Selector(tuple(wanted)).matches(labels) is expected


@given(st.lists(requirements(), max_size=4), LABELS)
def test_a_selector_written_and_read_again_selects_the_same(wanted: list[Requirement], labels: dict[str, str]) -> None:
    lines = ["matchExpressions:"]
    for item in wanted:
        values = ", ".join(f'"{value}"' for value in sorted(item.values))
        lines.append(f'- {{key: "{item.source}:{item.key}", operator: {item.operator}, values: [{values}]}}')
    problems = Problems()
    (value,) = parse("\n".join(lines), "p.yaml", problems)
    selector = read_selector(Fields(value, "", problems))
    assert not problems
    assert selector.matches(labels) is Selector(tuple(wanted)).matches(labels)


@given(st.lists(requirements(), max_size=3), st.lists(LABELS, max_size=6))
def test_the_index_finds_what_the_selector_matches(wanted: list[Requirement], workloads: list[dict[str, str]]) -> None:
    selector = Selector(tuple(wanted))
    found = LabelIndex((labels, number) for number, labels in enumerate(workloads)).select(selector)
    assert found == [number for number, labels in enumerate(workloads) if selector.matches(labels)]


def problems_of(text: str) -> list[str]:
    problems = Problems()
    (value,) = parse(text, "p.yaml", problems)
    read_selector(Fields(value, "s", problems))
    return [str(problem) for problem in problems.found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("matchLabels: {a: 1}", 'p.yaml:1:18: s.matchLabels.a: must be a string, not a number; write "1"'),
        ("matchLabels: {'k9s:a': b}", "p.yaml:1:14: s.matchLabels: `k9s:a` has no known label source"),
        ("matchLabel: {a: b}", "p.yaml:1:1: s.matchLabel: unknown field; did you mean `matchLabels`?"),
        ("matchExpressions: [{key: a, operator: Is}]", "`Is` is not one of In, NotIn, Exists, DoesNotExist"),
        ("matchExpressions: [{key: a, operator: In}]", "operator In needs values; list at least one"),
        ("matchExpressions: [{key: a, operator: Exists, values: [b]}]", "operator Exists takes no values"),
        ("matchExpressions: [{operator: Exists}]", "s.matchExpressions[0].key: is missing"),
    ],
)
def test_wrong_selectors(text: str, expected: str) -> None:
    assert expected in problems_of(text)[0]


def test_a_key_without_source_matches_any_source() -> None:
    (value,) = parse("matchLabels: {app: api}", "p.yaml", Problems())
    selector = read_selector(Fields(value, "", Problems()))
    assert selector.matches({"k8s:app": "api"})
    assert selector.matches({"container:app": "api"})
    assert not selector.matches({"k8s:app": "db"})


def test_a_key_of_kubernetes_is_taken_whole() -> None:
    (value,) = parse("matchLabels: {app: api}", "p.yaml", Problems())
    selector = read_selector(Fields(value, "", Problems()), source="k8s")
    assert selector.matches({"k8s:app": "api"})
    assert not selector.matches({"container:app": "api"})
