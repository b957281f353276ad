"""Listeners without HTTP whose rules name a parser: the verdict is each message's."""

import socket
import threading

import pytest
from tests.integration.files import LIMIT, Files
from tests.integration.proxy import eventually

RULES = """\
          rules:
            l7proto: r2d2
            l7: [{cmd: READ, file: "^public/"}, {cmd: HALT}]"""


class Robot:
    """Answers each line with `OK`, and keeps it."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.lines = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as stream:
                for line in stream:
                    self.lines.append(line)
                    stream.write(b"OK\r\n")


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.server.close()


@pytest.fixture
def r2d2(directory, robot):
    return Files(directory, "127.0.0.2", robot.port, protocol="tcp")


def connect(files):
    connection = socket.create_connection((files.host, files.port), LIMIT, source_address=(files.source, 0))
    return connection, connection.makefile("rwb", buffering=0)


def ask(stream, line):
    stream.write(line)
    return stream.readline()


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


def ask_once(files, line):
    connection, stream = connect(files)
    with connection, stream:
        return ask(stream, line)


def test_a_parser_that_does_not_exist_lets_nothing_pass(r2d2, run):
    r2d2.policy(RULES.replace("r2d2", "c3po"))
    run(r2d2)
    # The reset may come before connecting returns.
    with pytest.raises(ConnectionResetError):
        ask_once(r2d2, b"READ public/plans\r\n")
