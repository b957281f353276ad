"""The engine against a naive reading of the API's comments, on random policies and questions.

A difference is printed as a conformance vector, ready for `python -m cilium_proxy.testing.vectors policy FILE`.
"""

from __future__ import annotations

import collections
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilium_proxy.policy import PolicyMap, PolicyRejected

from . import naive_rules as naive
from . import policies as world

QUESTIONS = 500
POLICIES = 1200
EXPLAINED = 0.05
"""Part of the questions that are answered with an explanation, which takes longer."""
COMPARISONS = 200_000
"""At least; policies that both refuse have no questions."""

Json = dict[str, Any]


def text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def pairs(headers: list[tuple[str, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text(value)) for name, value in headers)


def questions(chance: random.Random) -> Iterator[naive.Question]:
    for _ in range(QUESTIONS):
        yield naive.Question(
            direction=chance.choice(["ingress", "ingress", "egress"]),
            port=chance.choice([0, *world.PORTS, 80, 80, 443, 82]),
            remote=chance.choice([*world.REMOTES, 110, 4]),
            proxy_id=chance.choice([0, 0, 7, 65535]),
            sni=chance.choice(world.NAMES),
        )


def who(question: naive.Question) -> Json:
    return {
        "endpoint": "10.1.2.3",
        "direction": question.direction,
        "remote": question.remote,
        "port": question.port,
        "proxy_id": question.proxy_id,
    }


def step(question: naive.Question, **more: Any) -> Json:
    asked = who(question)
    return {"pod_ip": asked.pop("endpoint"), "remote_id": asked.pop("remote"), **asked, **more}


class Pair:
    """One policy in both implementations."""

    def __init__(self, policy: Json) -> None:
        self.policy = policy
        self.engine = PolicyMap()
        for name, value in world.SECRETS.items():
            self.engine.set_secret(name, value)

    def update(self) -> bool:
        """Whether both accepted the policy."""
        try:
            naive.check(self.policy)
            accepted = True
        except naive.RefusedError:
            accepted = False
        try:
            self.engine.update([self.policy], version="1")
        except PolicyRejected as error:
            if accepted:
                self.differ("the engine refused: " + str(error))
            return False
        if not accepted:
            self.differ("the engine accepted")
        return True

    def ask(self, question: naive.Question, chance: random.Random) -> str:
        """One kind of question about the connection; what it was and what came out."""
        kinds = [self.network, self.http, self.http, self.tls, self.metadata, self.parser]
        return self.explain(question, chance) if chance.random() < EXPLAINED else chance.choice(kinds)(question, chance)

    def network(self, question: naive.Question, _: random.Random) -> str:
        wanted = naive.network(self.policy, question).allowed
        got = self.engine.network(**who(question), sni=question.sni)
        if got.allowed != wanted:
            self.differ(got.reason, step(question, op="network", sni=question.sni, expect=wanted))
        return f"network {wanted}"

    def http(self, question: naive.Question, chance: random.Random) -> str:
        headers = world.request(chance)
        wanted = naive.http(self.policy, question, headers, world.SECRETS)
        got = self.engine.http(**who(question), headers=headers, network_check=False)
        after, missing, rejected = pairs(wanted.headers), pairs(wanted.log.missing), pairs(wanted.log.rejected)
        if (got.allowed, got.headers, got.missing, got.rejected) != (wanted.allowed, after, missing, rejected):
            log = {"missing": missing, "rejected": rejected}
            expected = {"expect": wanted.allowed, "expect_headers_after": after, "expect_log": log}
            vector = step(question, op="http", network_check=False, headers=pairs(headers), **expected)
            self.differ(f"{got}", vector)
        return f"http {wanted.allowed}{' with actions' if missing or rejected else ''}"

    def tls(self, question: naive.Question, _: random.Random) -> str:
        wanted = naive.tls(self.policy, question)
        got = self.engine.tls(**who(question), sni=question.sni)
        names = wanted.what or {}
        secret = names.get("tls_sds_secret") or names.get("validation_context_sds_secret")
        chosen = got.context and (got.context.tls_sds_secret or got.context.validation_context_sds_secret)
        raw = wanted.allowed and wanted.what is None
        if (got.allowed, got.raw_socket_allowed, chosen) != (wanted.allowed, raw, secret):
            expected = {"allowed": wanted.allowed, "config": wanted.what is not None, "raw_socket_allowed": raw}
            side = "server" if question.direction == "ingress" else "client"
            self.differ(f"{got} {secret}", step(question, op="tls", sni=question.sni, side=side, expect=expected))
        return f"tls {'context' if secret else wanted.allowed}"

    def metadata(self, question: naive.Question, chance: random.Random) -> str:
        values = world.metadata(chance)
        wanted = naive.metadata(self.policy, question, values).allowed
        got = self.engine.metadata(**who(question), metadata=values)
        if got.allowed != wanted:
            self.differ(got.reason, step(question, op="metadata", metadata=values, expect=wanted))
        return f"metadata {wanted}"

    def parser(self, question: naive.Question, _: random.Random) -> str:
        wanted = naive.parser(self.policy, question)
        got = self.engine.l7_parser(**who(question))
        if got != wanted:
            self.differ(f"{got}", step(question, op="proxylib", expect=wanted))
        return f"parser {wanted is not None}"

    def explain(self, question: naive.Question, chance: random.Random) -> str:
        """The explanation is made apart from the verdict and must come to the same."""
        headers = world.request(chance)
        got = self.engine.explain(**who(question), sni=question.sni, headers=headers)
        wanted = self.engine.http(**who(question), sni=question.sni, headers=headers)
        outcomes = [rule["outcome"] for stage in got.data["stages"][-1:] for rule in stage["rules"]]
        if got.allowed != wanted.allowed or ("denies" in outcomes) != (wanted.code == "denied_by_rule"):
            vector = step(question, op="http", sni=question.sni, headers=pairs(headers), expect=wanted.allowed)
            self.differ(f"{wanted.reason}, and explains:\n{got}", vector)
        return f"explain {wanted.allowed}"

    def differ(self, got: str, *steps: Json) -> None:
        expect: Any = "accept" if steps else {"reject": ""}
        update = {"op": "update", "version": "1", "mode": "sotw", "new_stream": False, "resources": [self.policy]}
        case = {
            "name": "differential",
            "source": "tests/differential",
            "secrets": {name: text(value) for name, value in world.SECRETS.items()},
            "steps": [{**update, "expect": expect}, *steps],
        }
        vector = json.dumps([case], indent=1)
        pytest.fail(f"the engine and the naive evaluator differ; the engine says: {got}\nas a vector:\n{vector}")


def test_engine_and_naive_evaluator_give_the_same_answers() -> None:
    asked = collections.Counter[str]()

    @settings(max_examples=POLICIES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(policy=world.policies, seed=st.integers(0, 2**32 - 1))
    def agree(policy: Json, seed: int) -> None:
        pair = Pair(policy)
        if not pair.update():
            asked["refused"] += 1
            return
        chance = random.Random(seed)
        for question in questions(chance):
            asked[pair.ask(question, chance)] += 1

    agree()
    comparisons = sum(asked.values())
    print(f"{comparisons} comparisons: {dict(asked)}")
    assert comparisons >= COMPARISONS
