"""Random policies and questions from a small world, so that rules meet each other and requests meet rules."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

PORTS = [1, 79, 80, 81, 443, 444, 8080, 65535]
REMOTES = [1, 2, 3, 43, 65536, 16777217]
PROXY_IDS = [0, 7, 65535]
NAMES = ["", "example.com", "www.example.com", "a.b.example.com", "sub-1.example.org", "EXAMPLE.com", "ex@mple.com"]
PATTERNS = [
    "example.com",
    "*.example.com",
    "**.example.com",
    "*",
    "**",
    "sub*.example.org",
    "*.*.example.com",
    "w*w.**.com",
]
METHODS = ["GET", "PUT", "POST"]
PATHS = ["/", "/a", "/a/b", "/public/1", "/public/2", "/a?x=1", "/A", ""]
HEADERS = ["x-a", "x-b", "X-C"]
VALUES = ["", "1", "12", "-3", " 7 ", "one", "ONE", "one,two", "two", "é"]
ALL_VALUES = [*(value.encode() for value in VALUES), b"\xff\xfe", b"one\xff"]
EXPRESSIONS = ["/a.*", "/public/[0-9]+", "", "(?i)one", "[^1]*", "o.e|1+", r"\d+", ".", "(GET|PUT)", "[a-z,]*"]
SECRETS = {"delivered": b"one", "empty": b"", "binary": b"\xff\xfe"}
MISSING_SECRETS = ["missing"]
PARSERS = ["test.lineparser", "kafka"]


def maybe(strategy: st.SearchStrategy[Any]) -> Any:
    """A field that is there half of the time; Hypothesis shrinks towards its absence."""
    return st.none() | strategy


def fields(**strategies: Any) -> st.SearchStrategy[Json]:
    """A dictionary of those fields that are not None."""
    return st.fixed_dictionaries(strategies).map(lambda d: {k: v for k, v in d.items() if v is not None})


texts = st.one_of(
    st.sampled_from(VALUES[1:]).map(lambda v: {"exact": v}),
    st.sampled_from(VALUES[1:]).map(lambda v: {"prefix": v}),
    st.sampled_from(VALUES[1:]).map(lambda v: {"suffix": v}),
    st.sampled_from(VALUES[1:]).map(lambda v: {"contains": v}),
)
string_matchers = st.one_of(
    texts,
    texts.map(lambda matcher: {**matcher, "ignore_case": True}),
    st.sampled_from(EXPRESSIONS[:2] + EXPRESSIONS[3:]).map(lambda e: {"safe_regex": {"regex": e}}),
)


def header_tests(values: list[str]) -> st.SearchStrategy[Json]:
    some = st.sampled_from([value for value in values if value] or ["x"])
    return st.one_of(
        st.sampled_from(values).map(lambda v: {"exact_match": v}),
        some.map(lambda v: {"prefix_match": v[: max(1, len(v) // 2)]}),
        some.map(lambda v: {"suffix_match": v[len(v) // 2 :]}),
        some.map(lambda v: {"contains_match": v[len(v) // 2 :]}),
        st.sampled_from([e for e in EXPRESSIONS if e]).map(lambda e: {"safe_regex_match": {"regex": e}}),
        st.tuples(st.integers(-5, 12), st.integers(-5, 12)).map(
            lambda r: {"range_match": {"start": min(r), "end": max(r)}}
        ),
        st.booleans().map(lambda present: {"present_match": present}),
        st.just({}),
        string_matchers.map(lambda matcher: {"string_match": matcher}),
    )


def header_matcher(name: str, values: list[str]) -> st.SearchStrategy[Json]:
    flags = fields(invert_match=maybe(st.just(True)), treat_missing_header_as_empty=maybe(st.just(True)))
    return st.tuples(header_tests(values), st.just({}) | flags).map(
        lambda parts: {"name": name, **parts[0], **parts[1]}
    )


header_matchers = st.one_of(
    st.sampled_from(PATHS[1:]).map(lambda path: {"name": ":path", "exact_match": path}),
    header_matcher(":path", PATHS),
    header_matcher(":method", METHODS),
    *(header_matcher(name, VALUES) for name in [*HEADERS, "Host"]),
)
header_actions = fields(
    name=st.sampled_from([*HEADERS, ":authority", "host"]),
    value=maybe(st.sampled_from(VALUES)),
    value_sds_secret=maybe(st.sampled_from([*SECRETS, *MISSING_SECRETS])),
    match_action=maybe(st.sampled_from(["CONTINUE_ON_MATCH", "FAIL_ON_MATCH", "DELETE_ON_MATCH"])),
    mismatch_action=maybe(
        st.sampled_from(
            ["FAIL_ON_MISMATCH", "CONTINUE_ON_MISMATCH", "ADD_ON_MISMATCH", "DELETE_ON_MISMATCH", "REPLACE_ON_MISMATCH"]
        )
    ),
)
http_rules = st.one_of(
    fields(headers=st.lists(header_matchers, max_size=3)),
    fields(
        headers=st.lists(header_matchers, max_size=2), header_matches=st.lists(header_actions, min_size=1, max_size=3)
    ),
)
numbers = st.sampled_from([0.0, 1.0, 2.5])
value_matchers = st.recursive(
    st.one_of(
        st.just({"null_match": {}}),
        numbers.map(lambda n: {"double_match": {"exact": n}}),
        st.tuples(numbers, numbers).map(lambda r: {"double_match": {"range": {"start": min(r), "end": max(r)}}}),
        string_matchers.map(lambda matcher: {"string_match": matcher}),
        st.booleans().map(lambda b: {"bool_match": b}),
        st.booleans().map(lambda b: {"present_match": b}),
    ),
    lambda inner: st.one_of(
        inner.map(lambda one: {"list_match": {"one_of": one}}),
        st.lists(inner, min_size=2, max_size=3).map(lambda ones: {"or_match": {"value_matchers": ones}}),
    ),
    max_leaves=3,
)
metadata_matchers = fields(
    filter=st.sampled_from(["f", "g"]),
    path=st.lists(st.sampled_from(["k", "l"]).map(lambda key: {"key": key}), min_size=1, max_size=2),
    value=value_matchers,
    invert=maybe(st.just(True)),
)
l7_rule_lists = st.lists(fields(metadata_rule=st.lists(metadata_matchers, max_size=2)), max_size=2)
remotes = st.one_of(
    st.lists(st.sampled_from(REMOTES), min_size=1, max_size=3, unique=True),
    st.sampled_from(REMOTES).map(lambda one: [*range(100, 120), one]),
)
verdicts = st.one_of(
    st.just({}),
    st.just({}),
    st.just({"deny": True}),
    st.just({"tier": True}),
    st.integers(0, 4).map(lambda n: {"pass_precedence": n}),
)
TIERS = [0, 1, 1, 3, 3, 3]
"""The end of the tier of each precedence, for passes that agree with each other."""


def finish_rule(rule: Json) -> Json:
    """Lets passes agree most of the time, and drops what the API does not allow together."""
    verdict = rule.pop("verdict")
    precedence = rule.get("precedence", 0)
    if verdict.pop("tier", False):
        verdict = {"pass_precedence": TIERS[precedence]}
    return {**rule, **verdict}


rules = fields(
    precedence=maybe(st.integers(0, 5)),
    verdict=verdicts,
    proxy_id=maybe(st.sampled_from(PROXY_IDS)),
    remote_policies=maybe(remotes),
    server_names=maybe(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)),
    downstream_tls_context=maybe(st.sampled_from(["a", "b"]).map(lambda name: {"tls_sds_secret": name})),
    upstream_tls_context=maybe(st.sampled_from(["a", "b"]).map(lambda name: {"validation_context_sds_secret": name})),
    l7_proto=maybe(st.sampled_from(PARSERS)),
).map(finish_rule)
plain_rules = fields(precedence=maybe(st.integers(0, 5)), verdict=verdicts, remote_policies=maybe(remotes)).map(
    finish_rule
)
http_rule_lists = st.one_of(
    st.lists(http_rules, min_size=1, max_size=3),
    st.lists(
        st.sampled_from(PATHS[1:-1]).map(lambda path: {"headers": [{"name": ":path", "exact_match": path}]}),
        min_size=1,
        max_size=12,
    ),
).map(lambda found: {"http_rules": {"http_rules": found}})
l7_rules = fields(
    l7_allow_rules=maybe(l7_rule_lists),
    l7_deny_rules=maybe(l7_rule_lists),
).map(lambda found: {"l7_rules": found})


def with_l7(rule_strategy: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.tuples(rule_strategy, st.one_of(http_rule_lists, http_rule_lists, l7_rules, st.just({}))).map(
        lambda pair: {**pair[0], **pair[1]}
    )


port_ranges = st.one_of(
    st.sampled_from([80, 443, 0]).map(lambda port: {"port": port}),
    st.just({}),
    st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(lambda r: {"port": min(r), "end_port": max(r)}),
    st.tuples(st.sampled_from(PORTS), st.sampled_from([0, 80, 65535])).map(lambda r: {"port": r[0], "end_port": r[1]}),
)
entry_lists = st.lists(
    st.tuples(
        port_ranges,
        fields(
            protocol=st.none() | st.none() | st.sampled_from(["TCP", "UDP"]),
            rules=st.one_of(*[st.lists(with_l7(plain_rules | rules), min_size=size, max_size=4) for size in (0, 1, 2)]),
        ),
    ).map(lambda parts: {**parts[0], **parts[1]}),
    min_size=1,
    max_size=4,
)
exact_paths = st.sampled_from(PATHS[1:-1]).map(lambda path: {"name": ":path", "exact_match": path})
path_rules = st.tuples(
    fields(precedence=st.integers(0, 5), verdict=verdicts, remote_policies=maybe(remotes)).map(finish_rule),
    st.lists(
        st.lists(st.one_of(exact_paths, exact_paths, header_matcher(":method", METHODS)), min_size=1, max_size=2).map(
            lambda headers: {"headers": headers}
        ),
        min_size=1,
        max_size=6,
    ).map(lambda found: {"http_rules": {"http_rules": found}})
    | st.just({}),
).map(lambda parts: {**parts[0], **parts[1]})
path_entry_lists = st.lists(path_rules, min_size=2, max_size=8).map(lambda found: [{"port": 80, "rules": found}])
"""Many exact paths below tiers and denies, which the engine judges in another way than few."""


def policies_of(ingress: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return fields(
        endpoint_ips=st.just(["10.1.2.3"]),
        endpoint_id=st.just(42),
        ingress_per_port_policies=ingress,
        egress_per_port_policies=maybe(entry_lists),
    )


policies = st.one_of(policies_of(entry_lists), policies_of(entry_lists), policies_of(path_entry_lists))


def request(chance: random.Random) -> list[tuple[str, bytes]]:
    """Headers of a request; some are missing, some come twice."""
    headers = [(":method", chance.choice(METHODS).encode()), (":authority", chance.choice([b"one", b"12"]))]
    if chance.random() < 0.95:
        headers.append((":path", chance.choice(PATHS).encode()))
    for name in HEADERS:
        count = chance.choice([0, 1, 1, 2])
        headers += [(name.lower(), chance.choice(ALL_VALUES)) for _ in range(count)]
    return headers


def metadata(chance: random.Random) -> Json:
    """Values below two filters, sometimes a level deeper."""

    def value(depth: int) -> Any:
        kinds: list[Any] = [None, True, False, 0.0, 1.0, 2.5, 1, "one", "ONE", "12"]
        if depth < 2 and chance.random() < 0.5:
            return chance.choice([{"k": value(depth + 1)}, {"l": value(depth + 1)}, [value(depth + 1), 1.0], []])
        return chance.choice(kinds)

    return {name: {key: value(0) for key in ("k", "l") if chance.random() < 0.8} for name in ("f", "g")}
