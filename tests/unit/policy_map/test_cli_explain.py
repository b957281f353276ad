from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from cilium_proxy.api import from_dict
from cilium_proxy.config import load
from cilium_proxy.observe import CompactPrinter, print_line
from cilium_proxy.policy.compile import compile_policies, load_policies
from cilium_proxy.policy.world import describe, describe_resources
from cilium_proxy.supervisor import control, state_directory

from .policies import policy

Run = Callable[..., Result]


def test_a_denial_is_told_rule_by_rule(run: Run, project: Path) -> None:
    result = run("explain", "-c", project / "proxy.yaml", "--from", "web", "--to", "api", "--path", "/admin")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == "DENIED web (257) -> api:8080 GET /admin"
    for part in (
        'resource "api"',
        "connection: allowed (allowed_by_rule)",
        "request: denied (header_mismatch)",
        '- :path "/admin", wanted: regex "/public/.*"',
        f"rule default/api/ingress/0 is at {project}/policies/api.yaml:9:17",
    ):
        assert part in result.output


def test_an_allowed_request_exits_with_zero(run: Run, project: Path) -> None:
    question = ("-c", project / "proxy.yaml", "--from", "127.0.0.3", "--to", "api", "--path", "/public/1")
    assert run("explain", *question).exit_code == 0
    data = json.loads(run("explain", *question, "-o", "json").output)
    assert data["allowed"] is True
    assert data["remote"] == {"identity": 257, "name": "web"}
    assert [stage["name"] for stage in data["stages"]] == ["connection", "request"]
    assert "allows" in run("explain", *question, "-o", "table").output


def test_policies_alone_can_be_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "npds.yaml").write_text(
        "endpoint_ips: [10.1.2.3]\nendpoint_id: 42\nigress: 1\n".replace(
            "igress: 1", "ingress_per_port_policies: [{port: 80, rules: [{remote_policies: [43]}]}]"
        )
    )
    ask = ("explain", "--to", "10.1.2.3", "--port", "80", tmp_path / "npds.yaml", "--from")
    assert run(*ask, "43").exit_code == 0
    result = run(*ask, "44", "--tcp")
    assert result.exit_code == 1
    assert "identity 44 is not among the remotes" in result.output


ENTRY = {
    "is_ingress": True,
    "entry_type": "Denied",
    "policy_name": "127.0.0.2",
    "source_security_id": 257,
    "source_address": "127.0.0.3:40000",
    "destination_address": "127.0.0.2:8080",
    "cilium_rule_ref": "whatever",
    "http": {
        "method": "GET",
        "path": "/admin(1)",
        "host": "api",
        "scheme": "http",
        "headers": [{"key": "a", "value": "b"}],
    },
}


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_log_lines_ask_the_question_again(run: Run, project: Path, kind: int) -> None:
    entry = from_dict("cilium.LogEntry", {**ENTRY, "entry_type": kind, "timestamp": "1700000000000000000"})
    for line in (print_line(entry), CompactPrinter()(entry)):
        result = run("explain", "-c", project / "proxy.yaml", "--log", line)
        assert result.exit_code == 1, line + result.output
        assert result.output.startswith("DENIED web (257) -> api:8080 GET /admin(1)"), line
    assert run("explain", "-c", project / "proxy.yaml", "--log", "-", stdin=print_line(entry)).exit_code == 1


def test_log_lines_of_connections_ask_about_connections(run: Run, project: Path) -> None:
    entry = from_dict("cilium.LogEntry", {key: value for key, value in ENTRY.items() if key != "http"})
    for line in (print_line(entry), CompactPrinter()(entry)):
        result = run("explain", "-c", project / "proxy.yaml", "--log", line)
        assert result.exit_code == 0, line
        assert result.output.startswith("ALLOWED web (257) -> api:8080\n")


def test_log_lines_may_name_prefixes_and_identities(run: Run, project: Path) -> None:
    before = (project / "policies/api.yaml").read_text()
    (project / "policies/api.yaml").write_text(before + "    - fromCIDR: [10.0.0.0/8]\n")
    end = "127.0.0.2:8080 (api) connection FORWARDED (TCP)"
    for source in ("10.1.2.3:4 (10.0.0.0/8)", "10.1.2.3:4 (unknown)", "10.1.2.3:4 (ID:16777217)"):
        result = run("explain", "-c", project / "proxy.yaml", "--log", f"Nov  3 01:02:03.004: {source} -> {end}")
        assert result.exit_code == 0, result.output
        assert " (16777217) -> api:8080" in result.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--from", "web"), "give --from and --to"),
        (("--from", "nobody", "--to", "api"), "`nobody` is neither"),
        (("--from", "web", "--to", "elsewhere"), "is not an endpoint"),
        (("--from", "api", "--to", "world"), "give --port"),
        (("--from", "web", "--to", "api", "--header", "x"), "NAME: VALUE"),
        (("--log", "no such line"), "not an access-log line"),
        (("--log", "{}"), "is not an address"),
        (("--log", "{"), "not an access-log line"),
        (("--running", "--from", "web", "--to", "api", "--state-dir", "/nonexistent"), "no proxy answers"),
    ],
)
def test_a_wrong_question_exits_with_two(run: Run, project: Path, arguments: tuple[str, ...], problem: str) -> None:
    result = run("explain", "-c", project / "proxy.yaml", *arguments)
    assert result.exit_code == 2
    assert problem in result.output


def test_a_wrong_configuration_is_told_with_its_place(run: Run, project: Path) -> None:
    (project / "proxy.yaml").write_text("endpoint: []")
    result = run("explain", "-c", project / "proxy.yaml", "--from", "a", "--to", "b")
    assert result.exit_code == 2
    assert "did you mean `endpoints`?" in result.output


@contextlib.contextmanager
def answering(directory: Path, data: dict[str, object]) -> Iterator[None]:
    """A control socket that answers as a proxy does."""

    async def policies() -> dict[str, object]:
        return data

    loop = asyncio.new_event_loop()
    server = control.ControlServer(directory / state_directory.CONTROL, {"policies": policies})
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_running_proxy_is_asked_for_what_it_enforces(run: Run, project: Path) -> None:
    config = load(project / "proxy.yaml")
    data = describe(config, compile_policies(config, load_policies(config.policies)))
    (project / "policies/api.yaml").write_text("edited: and not in force")
    question = ("--from", "web", "--to", "api", "--path", "/admin")
    with answering(project, data):
        result = run("explain", "--running", "--state-dir", project, *question)
    assert result.exit_code == 1
    assert result.output.startswith("DENIED web (257) -> api:8080 GET /admin\n")
    assert "rule default/api/ingress/0 is at" in result.output


def test_a_proxy_behind_an_agent_knows_addresses_and_numbers(run: Run, tmp_path: Path) -> None:
    policies = {"42": from_dict("cilium.NetworkPolicy", policy({"remote_policies": [43]})).SerializeToString()}
    hosts = from_dict("cilium.NetworkPolicyHosts", {"policy": 43, "host_addresses": ["10.0.0.43", "fd00::/64"]})
    with answering(tmp_path, describe_resources(policies, [hosts.SerializeToString()])):
        ask = ("explain", "--running", "--state-dir", tmp_path, "--to", "10.1.2.3", "--port", 80, "--from")
        for peer in ("43", "10.0.0.43", "fd00::7"):
            assert run(*ask, peer).exit_code == 0, peer
        result = run(*ask, "10.0.0.44")
    assert result.exit_code == 1
    assert "identity 2 is not among the remotes" in result.output


def test_an_answer_of_another_version_is_told(run: Run, tmp_path: Path) -> None:
    with answering(tmp_path, {"error": "no such question: policies"}):
        result = run("explain", "--running", "--state-dir", tmp_path, "--from", "1", "--to", "10.1.2.3")
    assert result.exit_code == 2
    assert "another version" in result.output
