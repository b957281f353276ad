"""Listeners without HTTP whose rules name a parser: the verdict is each message's."""

import pytest
from tests.integration.files import Files
from tests.integration.proxy import eventually
from tests.integration.robot import ask, ask_once, connect

RULES = """\
          rules:
            l7proto: r2d2
            l7: [{cmd: READ, file: "^public/"}, {cmd: HALT}]"""


@pytest.fixture
def r2d2(directory, robot):
    return Files(directory, "127.0.0.2", robot.port, protocol="tcp")


def test_commands_are_judged_one_by_one(r2d2, robot, run):
    r2d2.policy(RULES)
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


def test_an_open_connection_follows_a_changed_policy(r2d2, robot, run):
    r2d2.policy(RULES)
    proxy = run(r2d2)
    connection, stream = connect(r2d2)
    with connection, stream:
        assert ask(stream, b"READ public/plans\r\n") == b"OK\r\n"
        r2d2.policy(RULES.replace("^public/", "^other/"))
        proxy.wait_for("in force")
        assert ask(stream, b"READ public/plans\r\n") == b"ERROR\r\n"
        assert ask(stream, b"READ other/plans\r\n") == b"OK\r\n"
    assert robot.lines == [b"READ public/plans\r\n", b"READ other/plans\r\n"]


def test_a_parser_that_does_not_exist_lets_nothing_pass(r2d2, run):
    r2d2.policy(RULES.replace("r2d2", "c3po"))
    run(r2d2)
    # The reset may come before connecting returns.
    with pytest.raises(ConnectionResetError):
        ask_once(r2d2, b"READ public/plans\r\n")
