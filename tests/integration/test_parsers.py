"""Listeners without HTTP whose rules name a parser: the verdict is each message's."""

import contextlib
import json
import socket
from pathlib import Path

import pytest
from tests.integration.files import Files, example
from tests.integration.proxy import eventually
from tests.integration.robot import ask, ask_once, connect

RULES = example("r2d2")
EXAMPLES = Path(__file__).parents[2] / "examples/parsers"


@pytest.fixture
def r2d2(directory, robot):
    return Files(directory, "127.0.0.2", robot.port, protocol="tcp")


@pytest.fixture(params=["r2d2", "python:r2d2:R2d2"])
def rules(request, r2d2):
    """The same for the built-in parser and for the one in Python."""
    if request.param != "r2d2":
        r2d2.settings["parsers"] = {"directories": [str(EXAMPLES)], "time_limit": "1m"}
        r2d2.save()
    return RULES.replace("l7proto: r2d2", f"l7proto: {request.param}")


def test_commands_are_judged_one_by_one(r2d2, rules, robot, run):
    r2d2.policy(rules)
    run(r2d2)
    connection, stream = connect(r2d2)
    with connection, stream:
        assert ask(stream, b"READ public/plans\r\n") == b"OK\r\n"
        assert ask(stream, b"READ private/plans\r\n") == b"ERROR\r\n"
        assert ask(stream, b"WRITE public/plans\r\n") == b"ERROR\r\n"
        assert ask(stream, b"HALT\r\n") == b"OK\r\n"
    assert robot.lines == [b"READ public/plans\r\n", b"HALT\r\n"]
    eventually(lambda: len(r2d2.entries()) == 4)
    assert [(entry["entryType"], entry["genericL7"]["fields"]) for entry in r2d2.entries()] == [
        ("Request", {"cmd": "READ", "file": "public/plans"}),
        ("Denied", {"cmd": "READ", "file": "private/plans"}),
        ("Denied", {"cmd": "WRITE", "file": "public/plans"}),
        ("Request", {"cmd": "HALT", "file": ""}),
    ]


def test_an_open_connection_follows_a_changed_policy(r2d2, rules, robot, run):
    r2d2.policy(rules)
    proxy = run(r2d2)
    connection, stream = connect(r2d2)
    with connection, stream:
        assert ask(stream, b"READ public/plans\r\n") == b"OK\r\n"
        r2d2.policy(rules.replace("^public/", "^other/"))
        proxy.wait_for("in force")
        assert ask(stream, b"READ public/plans\r\n") == b"ERROR\r\n"
        assert ask(stream, b"READ other/plans\r\n") == b"OK\r\n"
    assert robot.lines == [b"READ public/plans\r\n", b"READ other/plans\r\n"]


def resource(files, rule):
    """The policy as a resource, which is not checked as much as one of Kubernetes is."""
    port = {"port": files.port, "rules": [rule]}
    fields = {"endpoint_ips": ["10.99.0.1"], "endpoint_id": 1, "ingress_per_port_policies": [port]}
    kind = {"@type": "type.googleapis.com/cilium.NetworkPolicy"}
    (files.directory / "policies/rule.yaml").write_text(json.dumps(kind | fields))


def test_a_parser_that_does_not_exist_lets_nothing_pass(r2d2, robot, run):
    resource(r2d2, {"l7_proto": "c3po"})
    run(r2d2)
    # The reset may come before connecting returns.
    with pytest.raises(ConnectionResetError):
        ask_once(r2d2, b"READ public/plans\r\n")
    (entry,) = eventually(r2d2.entries)
    assert entry["entryType"] == "Denied"
    assert 'there is no L7 parser "c3po"; the built-in ones are' in entry["ciliumRuleRef"]
    assert robot.lines == []


def test_rules_with_unknown_keys_deny_all_and_the_log_says_why(r2d2, robot, run):
    resource(r2d2, {"l7_proto": "r2d2", "l7_rules": {"l7_allow_rules": [{"rule": {"command": "HALT"}}]}})
    proxy = run(r2d2)
    assert ask_once(r2d2, b"HALT\r\n") == b"ERROR\r\n"
    assert 'unknown key "command", the keys are cmd, file' in proxy.wait_for("denies all messages")
    assert robot.lines == []


def test_a_client_that_has_sent_all_gets_all_replies(r2d2, robot, run):
    r2d2.policy(RULES)
    run(r2d2)
    connection, stream = connect(r2d2)
    with connection, stream:
        stream.write(b"READ public/a\r\nREAD private/a\r\nREAD public/b\r\nREAD pub")
        connection.shutdown(socket.SHUT_WR)
        # This denial overtakes the replies of the server, which the protocol does not number.
        assert sorted(stream) == [b"ERROR\r\n", b"OK\r\n", b"OK\r\n"]
    assert robot.lines == [b"READ public/a\r\n", b"READ public/b\r\n"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        # Its length alone is enough: nothing is kept of what it announces.
        (b"99999999:abc", "a message of at least 99999999 bytes, over the 16777216 that may be kept"),
        (b"eight:PASS", "a block without a sensible length"),
    ],
    ids=["too long", "malformed"],
)
def test_a_bad_message_closes_its_connection_alone(r2d2, robot, run, message, reason):
    robot.reply = b"8:PASS\r\n"
    r2d2.policy("          rules: {l7proto: test.blockparser}")
    proxy = run(r2d2)
    connection, stream = connect(r2d2)
    with connection, stream:
        assert ask(stream, b"8:PASS\r\n") == robot.reply
        with contextlib.suppress(ConnectionError):
            assert ask_once(r2d2, message) == b""
        assert f"is closed: test.blockparser: {reason}" in proxy.wait_for("is closed")
        assert ask(stream, b"8:PASS\r\n") == robot.reply


def test_a_parser_that_panics_closes_its_connection_alone(r2d2, robot, run):
    r2d2.policy("          rules: {l7proto: test.panicparser}")
    proxy = run(r2d2)
    pid = proxy.envoy()
    for turn in range(1, 3):
        with contextlib.suppress(ConnectionError):
            assert ask_once(r2d2, b"BOOM\r\n") == b""
        proxy.wait_for("network filter panicked: PanicParser OnData")
        entries = eventually(lambda turn=turn: found if len(found := r2d2.entries()) == turn else None)
        assert entries[-1]["entryType"] == "Denied"
        assert entries[-1]["genericL7"]["fields"]["status"].startswith("Panic: PanicParser OnData")
    assert proxy.envoy() == pid
    assert robot.lines == []
