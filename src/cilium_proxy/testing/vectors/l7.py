"""Kind `l7`: the L7 parsers step by step, without a proxy, and questions to parts of them (`unit`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from cilium_proxy import _core
from cilium_proxy.policy import PolicyMap, PolicyRejected
from cilium_proxy.testing.vectors import l7_unit
from cilium_proxy.testing.vectors.messages import says
from cilium_proxy.testing.vectors.result import Failure, Result, UnusableError

Step = dict[str, Any]
Entry = dict[str, Any]
RESULTS = ("OK", "POLICY_DROP", "PARSER_ERROR", "UNKNOWN_PARSER", "UNKNOWN_CONNECTION", "INVALID_ADDRESS")


def run(document: Any) -> Iterator[Result]:
    """Runs the cases of a document, each on connections and policies of its own."""
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise UnusableError("an l7 vector file has a list of cases")
    for case in document["cases"]:
        if not isinstance(case, dict) or not isinstance(case.get("steps"), list):
            raise UnusableError("a case has a name and a list of steps")
        yield L7Case(case).run()
    for case in document.get("unit", []):
        yield l7_unit.run(case)


class L7Case:
    """One case: a list of steps. `initial_parser_state` is what connections know from before their first bytes."""

    def __init__(self, case: Step) -> None:
        self.case = case
        self.policies = PolicyMap()
        self.connections = _core.L7Connections(self.policies._snapshot())
        # The entries of a connection all have these fields.
        self.ends: dict[int, Entry] = {}

    def run(self) -> Result:
        """Runs all steps, also after one has failed."""
        result = Result(str(self.case.get("name", "unnamed")))
        for number, step in enumerate(self.case["steps"], start=1):
            run_step: Callable[[Step], Iterator[Failure]] | None = getattr(self, f"op_{step.get('op')}", None)
            if run_step is None:
                result.unusable = f"step {number}: unknown op {step.get('op')!r}"
                continue
            try:
                for failure in run_step(step):
                    what = f"{step['op']}, {failure.what}"
                    result.failures.append(Failure(number, what, failure.expected, failure.got))
            except (KeyError, ValueError) as error:
                result.unusable = f"step {number} ({step['op']}): {error!r}"
        return result

    def op_policy_update(self, step: Step) -> Iterator[Failure]:
        """All policies, or none of them if a parser refuses a rule."""
        resources = step.get("resources", [])
        got = "accept"
        try:
            for resource in resources:
                _check_rules(resource)
            self.policies.update(resources, version=str(step.get("version", "")))
        except PolicyRejected as error:
            got = f"reject: {error}"
        self.connections.set_policies(self.policies._snapshot())
        wanted = step["expect"]
        if wanted == "accept":
            agrees = got == "accept"
        else:
            text = wanted.get("reject", "") if isinstance(wanted, dict) else ""
            agrees = got.startswith("reject: ") and says(got, text)
        if not agrees:
            yield _failure("policies", wanted, got)

    def op_new_connection(self, step: Step) -> Iterator[Failure]:
        """A connection, taken or refused by its parser."""
        number = int(step["connection_id"])
        code, reason = self.connections.connect(
            number,
            step["parser"],
            step["ingress"],
            (step["src_id"], step["dst_id"]),
            step["src_addr"],
            step["dst_addr"],
            step["policy_name"],
            step["inject_buf_size"],
        )
        self.ends[number] = {
            "is_ingress": step["ingress"],
            "policy_name": step["policy_name"],
            "source_security_id": step["src_id"],
            "destination_security_id": step["dst_id"],
            "source_address": step["src_addr"],
            "destination_address": step["dst_addr"],
        }
        yield from _compare("result", step["expect"]["result"], RESULTS[code], reason)
        state = self.case.get("initial_parser_state", {})
        for name, path in state.get("prepared_path_by_prepared_id", {}).items():
            self.connections.prepare(number, name.encode(), path)
        for stream, path in state.get("prepared_path_by_stream_id", {}).items():
            self.connections.prepare(number, int(stream), path)

    def op_on_data(self, step: Step) -> Iterator[Failure]:
        """Bytes, and what becomes of them."""
        number, expect = int(step["connection_id"]), step["expect"]
        chunks = [bytes.fromhex(chunk) for chunk in step["chunks_hex"]]
        code, reason, ops, to_server, to_client, records = self.connections.on_data(
            number, step["reply"], step["end_stream"], chunks, step["max_ops"]
        )
        yield from _compare("result", expect["result"], RESULTS[code], reason)
        yield from _compare("operations", [list(op) for op in expect["ops"]], [list(op) for op in ops])
        yield from _compare("injected towards the server", expect.get("inject_orig_hex", ""), to_server.hex())
        yield from _compare("injected towards the client", expect.get("inject_reply_hex", ""), to_client.hex())
        if "access_log" not in expect:
            return
        got = [{**self.ends.get(number, {}), **_entry(record)} for record in records]
        yield from _compare("number of entries", len(expect["access_log"]), len(got))
        ids = correlation_ids(b"".join(chunks))
        for position, (wanted, entry) in enumerate(zip(expect["access_log"], got, strict=False)):
            yield from _compare_entry(f"entry {position}", wanted, entry, ids)

    def op_close(self, step: Step) -> Iterator[Failure]:
        """The end of a connection."""
        self.connections.close(int(step["connection_id"]))
        yield from ()


def correlation_ids(data: bytes) -> set[int]:
    """Those of the frames of Kafka in the bytes."""
    ids = set()
    while len(data) >= 12:
        ids.add(int.from_bytes(data[8:12], "big", signed=True))
        data = data[4 + int.from_bytes(data[:4], "big") :]
    return ids


def _check_rules(resource: Any) -> None:
    """Refuses what the reference's parsers refuse: unknown keys and values, and two parsers for a port."""
    for direction in ("ingress", "egress"):
        for port in resource.get(f"{direction}_per_port_policies", []):
            names: set[str] = set()
            for rule in port.get("rules", []):
                parser = rule.get("l7_proto", "")
                kinds = [kind for kind in ("http_rules", "kafka_rules", "l7_rules") if kind in rule]
                names.update([parser] if parser else kinds)
                if parser not in _core.l7_parsers():
                    continue
                lists = rule.get("l7_rules", {})
                for pairs in [*lists.get("l7_allow_rules", []), *lists.get("l7_deny_rules", [])]:
                    if "metadata_rule" in pairs:
                        continue
                    problem = _core.l7_rule_problem(parser, pairs.get("rule", {}))
                    if problem:
                        raise PolicyRejected(f"port {port.get('port', 0)}: {problem}")
            if len(names) > 1:
                number, mixed = port.get("port", 0), " and ".join(sorted(names))
                raise PolicyRejected(f"port {number}: mismatching L7 types on the same port: {mixed}")


def _entry(record: Any) -> Entry:
    """A record as `cilium.LogEntry`, with defaults."""
    kind, kafka, generic = record
    entry: Entry = {"entry_type": kind}
    if kafka:
        names = ("correlation_id", "error_code", "api_version", "api_key", "topics")
        entry["kafka"] = dict(zip(names, kafka, strict=True))
    else:
        entry["generic_l7"] = {"proto": generic[0], "fields": generic[1]}
    return entry


def _compare_entry(what: str, wanted: Entry, got: Entry, ids: set[int]) -> Iterator[Failure]:
    wanted, got = {**_defaults(), **wanted}, dict(got)
    if "kafka" in wanted and "kafka" in got:
        expected, kafka = {**_kafka_defaults(), **wanted["kafka"]}, dict(got["kafka"])
        if wanted["entry_type"] == "Response":
            # The reference knows nothing but the number; more is not wrong.
            kafka = {name: kafka[name] if name in wanted["kafka"] else expected[name] for name in expected}
        elif "correlation_id" not in wanted["kafka"]:
            if ids and kafka["correlation_id"] not in ids:
                yield _failure(f"{what}: correlation id", sorted(ids), kafka["correlation_id"])
            expected["correlation_id"] = kafka["correlation_id"]
        for side in (expected, kafka):
            side["topics"] = sorted(side["topics"])
        wanted, got = {**wanted, "kafka": expected}, {**got, "kafka": kafka}
    yield from _compare(what, wanted, got)


def _defaults() -> Entry:
    return {"is_ingress": False, "policy_name": "", "source_security_id": 0, "destination_security_id": 0}


def _kafka_defaults() -> Entry:
    return {"correlation_id": 0, "error_code": 0, "api_version": 0, "api_key": 0, "topics": []}


def _compare(what: str, wanted: object, got: object, reason: str = "") -> Iterator[Failure]:
    if wanted != got:
        yield _failure(what, wanted, f"{got} ({reason})" if reason else got)


def _failure(what: str, wanted: object, got: object) -> Failure:
    show = [value if isinstance(value, str) else json.dumps(value, sort_keys=True) for value in (wanted, got)]
    return Failure(0, what, show[0], show[1])
