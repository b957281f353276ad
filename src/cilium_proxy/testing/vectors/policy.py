"""Kind `policy`: updates of one policy map and questions to it, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from cilium_proxy.policy import PolicyError, PolicyMap, PolicyRejected, SniPattern
from cilium_proxy.policy.snapshot import Questions
from cilium_proxy.testing.vectors.dump import same_dump
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError, rejection

Step = dict[str, Any]
# Expected and got, or None if they are the same.
Difference = tuple[object, object] | None


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each on a map of its own."""
    cases = document.get("cases") if isinstance(document, dict) else document
    if not isinstance(cases, list):
        raise UnusableError("a policy vector file is a list of cases, or has one as `cases`")
    for case in cases:
        result = Result.of(case)
        with result.running():
            PolicyCase(case, result).run()
        yield result


class PolicyCase:
    """One case: a list of steps on a policy map that starts empty.

    `secrets` of the case are delivered before the first step; all others never are.
    """

    def __init__(self, case: Step, result: Result) -> None:
        self.case = case
        self.result = result
        self.map = PolicyMap()
        self.kept: dict[str, tuple[Questions, str]] = {}
        self.objects: dict[str, object] = {}
        self.subscribed: set[str] = set()
        self.subscriptions: dict[str, int] = {}
        for name, value in (case.get("secrets") or {}).items():
            self.map.set_secret(name, value)

    def run(self) -> None:
        """Runs all steps, also after one has failed."""
        for number, step in enumerate(self.case["steps"], start=1):
            run_step: Callable[[Step], Difference] | None = getattr(self, f"op_{step.get('op')}", None)
            if run_step is None:
                self.result.unusable = f"step {number}: unknown op {step.get('op')!r}"
                continue
            try:
                difference = run_step(step)
            except KeyError as error:
                self.result.unusable = f"step {number} ({step['op']}): {error} is missing"
                continue
            except PolicyError as error:
                difference = "an answer", f"{type(error).__name__}: {error}"
            if difference is not None:
                expected, got = difference
                what = f"{step['op']}, line {step['line']}" if "line" in step else step["op"]
                self.result.failures.append(Failure(number, what, _show(expected), _show(got)))

    def op_update(self, step: Step) -> Difference:
        """An update of the map, accepted or refused."""
        delta = step.get("mode", "sotw") == "delta"
        wanted = rejection(step["expect"])
        new_stream = step.get("new_stream", False)
        try:
            self.map.update(
                step.get("resources", []),
                removed=step.get("removed", []),
                version=str(step.get("version", "")),
                delta=delta,
                new_stream=new_stream,
            )
        except PolicyRejected as error:
            if wanted is None:
                return "accept", f"reject: {error}"
            return None if says(str(error), wanted) else (f"reject: {wanted}", f"reject: {error}")
        self._subscribe(new_stream)
        return None if wanted is None else (f"reject: {wanted}", "accept")

    def _subscribe(self, new_stream: bool) -> None:
        """Counts subscriptions: one per secret and stream, while a policy refers to it."""
        wanted = set(self.map.secrets())
        for name in wanted if new_stream else wanted - self.subscribed:
            self.subscriptions[name] = self.subscriptions.get(name, 0) + 1
        self.subscribed = wanted

    def op_exists(self, step: Step) -> Difference:
        """Whether an endpoint has a policy."""
        questions, endpoint = self._asked(step)
        return _compare(step["expect"], questions.exists(endpoint))

    def op_http(self, step: Step) -> Difference:
        """A request: connection, then headers."""
        questions, endpoint = self._asked(step)
        verdict = questions.http(
            endpoint=endpoint,
            **_connection(step),
            headers=[(name, value) for name, value in step["headers"]],
            sni=step.get("sni", ""),
            network_check=step.get("network_check", True),
        )
        if verdict.allowed != step["expect"]:
            return step["expect"], f"{verdict.allowed} ({verdict.reason})"
        after = step.get("expect_headers_after")
        if after is not None and _by_name(after) != _by_name(verdict.headers):
            return after, verdict.headers
        log = step.get("expect_log")
        if log is None:
            return None
        got = {"missing": _lower(verdict.missing), "rejected": _lower(verdict.rejected)}
        return _compare({name: _lower(log.get(name, [])) for name in got}, got)

    def op_network(self, step: Step) -> Difference:
        """A connection."""
        questions, endpoint = self._asked(step)
        verdict = questions.network(endpoint=endpoint, **_connection(step), sni=step.get("sni", ""))
        return None if verdict.allowed == step["expect"] else (step["expect"], f"{verdict.allowed} ({verdict.reason})")

    def op_tls(self, step: Step) -> Difference:
        """The TLS context of a connection. `implied` and other remarks in `expect` are not looked at."""
        questions, endpoint = self._asked(step)
        verdict = questions.tls(endpoint=endpoint, **_connection(step), sni=step.get("sni", ""), side=step.get("side"))
        context = verdict.context
        if "config_ref" in step:
            self.objects[step["config_ref"]] = context
        pending = context is not None and (context.tls_sds_secret or context.validation_context_sds_secret)
        got = {
            "allowed": verdict.allowed,
            "tls_required": verdict.tls_required,
            "raw_socket_allowed": verdict.raw_socket_allowed,
            "config": context is not None,
            # Secrets of TLS contexts are never delivered in a case.
            "ctx": context is not None and not pending,
        }
        asked = [name for name in got if name in step["expect"]]
        return _compare({name: step["expect"][name] for name in asked}, {name: got[name] for name in asked})

    def op_proxylib(self, step: Step) -> Difference:
        """The L7 parser of a connection."""
        questions, endpoint = self._asked(step)
        parser = questions.l7_parser(endpoint=endpoint, **_connection(step))
        return _compare(step["expect"] or None, parser)

    def op_metadata(self, step: Step) -> Difference:
        """Dynamic metadata: a mapping by filter name, bare or as `filter_metadata`."""
        questions, endpoint = self._asked(step)
        values = step["metadata"]
        values = values.get("filter_metadata", values.get("filterMetadata", values))
        verdict = questions.metadata(endpoint=endpoint, **_connection(step), metadata=values)
        return None if verdict.allowed == step["expect"] else (step["expect"], f"{verdict.allowed} ({verdict.reason})")

    def op_dump(self, step: Step) -> Difference:
        """The rules per port range, as far as their order means something."""
        questions, endpoint = self._asked(step)
        got = questions.dump(endpoint)
        return None if same_dump(step["expect"], got) else (step["expect"], got)

    def op_sni_pattern(self, step: Step) -> Difference:
        """A server-name pattern alone."""
        try:
            pattern = SniPattern(step["pattern"])
        except PolicyRejected as error:
            if step["valid"]:
                return "a valid pattern", str(error)
            return None if says(str(error), step.get("error", "")) else (step["error"], str(error))
        if not step["valid"]:
            return "an invalid pattern", "a valid one"
        wrong = [name for name in step.get("match", []) if not pattern.matches(name)]
        wrong += [name for name in step.get("no_match", []) if pattern.matches(name)]
        return ("as listed", f"otherwise for {', '.join(wrong)}") if wrong else None

    def op_keep_policy(self, step: Step) -> Difference:
        """Holds the policy of an endpoint; `on` of later steps refers to it."""
        self.kept[step["as"]] = (self.map.snapshot(), step["pod_ip"])
        return None

    def op_same_object(self, step: Step) -> Difference:
        """Whether TLS look-ups gave the same object."""
        first, *rest = (self.objects[ref] for ref in step["refs"])
        return _compare(step["expect"], all(first is not None and first == other for other in rest))

    def op_secret_subscriptions(self, step: Step) -> Difference:
        """How often a secret was subscribed to."""
        return _compare(step["expect_created_total"], self.subscriptions.get(step["secret"], 0))

    def op_stat_name(self, step: Step) -> Difference:
        """The name of a statistic."""
        names = list(self.map.statistics())
        return None if step["expect"] in names else (step["expect"], names)

    def _asked(self, step: Step) -> tuple[Questions, str]:
        if "on" in step:
            return self.kept[step["on"]]
        return self.map, step["pod_ip"]


def _connection(step: Step) -> dict[str, Any]:
    return {
        "direction": step["direction"],
        "remote": step["remote_id"],
        "port": step["port"],
        "proxy_id": step.get("proxy_id", 0),
    }


def _lower(pairs: Any) -> list[list[str]]:
    return [[name.lower(), value] for name, value in pairs]


def _by_name(pairs: Any) -> dict[str, list[str]]:
    """Values by header: the order means something only among those of one header."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.lower(), []).append(value)
    return values


def _compare(expected: object, got: object) -> Difference:
    return None if expected == got else (expected, got)


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
