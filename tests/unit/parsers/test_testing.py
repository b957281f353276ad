"""Parsers in users' tests, and on the command line."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from cilium_proxy.cli import group
from cilium_proxy.l7 import Drop, Error, Inject, More, Parser, Pass, RuleError
from cilium_proxy.l7.loading import Loader
from cilium_proxy.testing.parser import Conversation, Entry, check_chunkings

EXAMPLES = Path(__file__).parents[3] / "examples/parsers"


@pytest.fixture(scope="module")
def r2d2():
    with Loader([EXAMPLES]) as loader:
        yield loader.load("r2d2:R2d2")


def test_a_conversation_shows_what_is_sent_on_and_logged(r2d2):
    talk = Conversation(r2d2, rules=[{"cmd": "READ"}])
    talk.client(b"READ a\r\nWRI")
    assert talk.to_server == b"READ a\r\n"
    talk.client(b"TE b\r\n", end=True)
    assert (talk.to_server, talk.to_client) == (b"READ a\r\n", b"ERROR\r\n")
    talk.server(b"OK\r\n", end=True)
    assert talk.to_client == b"ERROR\r\nOK\r\n"
    assert talk.log == [
        Entry("Request", {"cmd": "READ", "file": "a"}),
        Entry("Denied", {"cmd": "WRITE", "file": "b"}),
    ]
    assert {entry.protocol for entry in talk.log} == {"r2d2"}
    assert (talk.closed, talk.ended) == (None, {"client", "server"})


def test_a_changed_policy_counts_from_the_next_message_on(r2d2):
    talk = Conversation(r2d2, rules=[{"cmd": "READ"}])
    talk.client(b"READ a\r\nWRI")
    talk.set_rules(deny=[{"cmd": "READ"}])
    talk.client(b"TE b\r\nREAD c\r\n")
    assert talk.to_server == b"READ a\r\nWRITE b\r\n"


def test_a_rule_that_denies_wins(r2d2):
    talk = Conversation(r2d2, rules=[{"cmd": "READ"}], deny=[{"file": "^private"}])
    talk.client(b"READ private\r\nREAD public\r\n")
    assert talk.to_server == b"READ public\r\n"


@pytest.mark.parametrize("rule", [{"cmd": "SING"}, {"command": "READ"}, {"file": "("}, {"cmd": "HALT", "file": "a"}])
def test_a_rule_that_makes_no_sense_is_refused(r2d2, rule):
    with pytest.raises(RuleError):
        Conversation(r2d2, rules=[rule])
    with pytest.raises(RuleError):
        Conversation(r2d2).set_rules(deny=[rule])


def test_an_exception_closes_with_its_traceback():
    class Broken(Parser):
        def on_data(self, reply, end_stream, data):
            return data[7]

    talk = Conversation(Broken)
    talk.client(b"a")
    assert "IndexError: index out of range" in talk.closed
    assert "return data[7]" in talk.traceback
    talk.client(b"b")
    assert (talk.to_server, talk.to_client) == (b"", b"")


def test_a_parser_may_refuse_its_connection():
    class Choosy(Parser):
        def __init__(self, connection):
            super().__init__(connection)
            raise LookupError(f"port {connection.port} is not mine")

        def on_data(self, reply, end_stream, data):
            return Pass(1)

    with pytest.raises(ValueError, match="LookupError: port 80 is not mine"):
        Conversation(Choosy)


def test_operations_of_one_call_are_carried_out_in_order():
    class Brackets(Parser):
        def on_data(self, reply, end_stream, data):
            self.inject(reply, b"<>")
            return [Inject(1), Pass(1), Drop(1), Inject(1)] if len(data) > 1 else More(2 - len(data))

    class Counted(Brackets):
        def on_data(self, reply, end_stream, data):
            return super().on_data(reply, end_stream, data) if len(data) > 1 else More(2 - len(data))

    talk = Conversation(Counted)
    talk.client(b"abcdefg")
    assert talk.to_server == b"<a><c><e>"


def test_calls_of_the_proxy_outside_of_data_are_refused():
    class Early(Parser):
        def __init__(self, connection):
            super().__init__(connection)
            self.inject(True, b"hello")

        def on_data(self, reply, end_stream, data):
            return Pass(1)

    with pytest.raises(ValueError, match="the proxy can be called within on_data only"):
        Conversation(Early)


@dataclass(frozen=True)
class Chunk:
    length: int


class Cut(Parser[Chunk]):
    """Does what it must not: looks at how the bytes are cut."""

    def on_data(self, reply, end_stream, data):
        if not data:
            return More()
        self.allows(Chunk(len(data)))
        return Pass(len(data))


class Lines(Parser):
    """Passes lines of digits."""

    def on_data(self, reply, end_stream, data):
        line, end, _ = data.partition(b"\n")
        if not line.isdigit() and end:
            return Error(f"{line!r} is no number")
        return Pass(len(line) + 1) if end else More()


def test_how_bytes_are_cut_must_change_nothing(r2d2):
    said = [("client", b"READ a\r\nWRITE b\r\n"), ("server", b"OK\r\n"), ("client", b"HALT\r\n")]
    whole = check_chunkings(r2d2, said, rules=[{"cmd": "READ"}])
    assert (whole.to_server, whole.to_client) == (b"READ a\r\n", b"ERROR\r\nOK\r\nERROR\r\n")
    with pytest.raises(AssertionError, match=r"log is .*Chunk|length.* uncut"):
        check_chunkings(Cut, said)


def test_connections_that_are_closed_may_have_had_more_or_less_sent_on():
    whole = check_chunkings(Lines, [("client", b"1\n22\nx\n3\n")])
    assert whole.closed.endswith("b'x' is no number")


def invoke(*arguments):
    return CliRunner().invoke(group, ["parser", "test", *arguments])


def test_the_command_shows_what_comes_of_a_conversation():
    rule = "{cmd: READ, file: ^public/}"
    said = ("client:READ public/a\\r\\nWRITE b\\r\\n", "server:OK\\r\\n")
    result = invoke("r2d2:R2d2", "-d", str(EXAMPLES), "--rule", rule, *said)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        r"client says READ public/a\r\nWRITE b\r\n",
        r"  to server: READ public/a\r\n",
        r"  to client: ERROR\r\n",
        "  Request: cmd 'READ', file 'public/a'",
        "  Denied: cmd 'WRITE', file 'b'",
        r"server says OK\r\n",
        r"  to client: OK\r\n",
    ]


def test_the_command_finds_parsers_that_depend_on_how_bytes_are_cut(tmp_path):
    (tmp_path / "cut.py").write_text(
        "from cilium_proxy.l7 import More, Parser, Pass\n"
        "class Cut(Parser):\n"
        "    def on_data(self, reply, end_stream, data):\n"
        "        self.record('Request', {'length': str(len(data))})\n"
        "        return Pass(len(data)) if data else More()\n"
    )
    result = invoke("cut:Cut", "-d", str(tmp_path), "client:abc")
    assert result.exit_code == 1
    assert "how the bytes are cut changes what comes of them" in result.output


LATE = """\
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cilium_proxy.l7 import More, Parser, Pass, Rule

@dataclass(frozen=True)
class LateRule(Rule):
    cmd: Literal["READ"] | None = None

    def matches(self, message):
        return True

class Late(Parser):
    rule = LateRule

    def on_data(self, reply, end_stream, data):
        import helper
        return helper.decide(len(data)) if data else More()
"""


def test_rules_are_made_also_when_the_module_of_their_class_has_been_forgotten(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    with Loader([tmp_path]) as loader:
        late = loader.load("late:Late")
    assert late.rule.parse({"cmd": "READ"}).cmd == "READ"
    with pytest.raises(RuleError, match="is not READ"):
        late.rule.parse({"cmd": "WRITE"})


def test_the_command_cuts_while_the_parser_finds_what_it_imports(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    (tmp_path / "helper.py").write_text(
        "from cilium_proxy.l7 import Drop, Pass\ndef decide(length):\n    return Pass(2) if length > 1 else Drop(1)\n"
    )
    result = invoke("late:Late", "-d", str(tmp_path), "--rule", "{cmd: READ}", "client:abcd")
    assert result.exit_code == 1
    assert "how the bytes are cut changes what comes of them" in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing:Here"], "there is no module nothing"),
        (["r2d2"], "is not python:package.module:Class"),
        (["r2d2:R2d2", "--rule", "{cmd: SING}"], "cmd 'SING' is not READ, WRITE, HALT or RESET"),
        (["r2d2:R2d2", "--rule", "READ"], "is not names and values"),
        (["r2d2:R2d2", "nobody:hello"], "is not client:TEXT or server:TEXT"),
        (["r2d2:R2d2", "client:@/nowhere"], "No such file"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, reason):
    result = invoke(*arguments, "-d", str(EXAMPLES))
    assert result.exit_code == 2
    assert reason in result.output
