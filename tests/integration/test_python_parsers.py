"""Parsers written in Python, run inside Envoy: the verdict is each message's, and one that fails harms only its own."""

import contextlib
import re
import shutil
import socket
import textwrap
import threading
from pathlib import Path

import httpx
import pytest
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, Files, example
from tests.integration.proxy import eventually
from tests.integration.robot import ask, ask_once, connect

EXAMPLES = Path(__file__).parents[2] / "examples/parsers"
R2D2 = example("r2d2").replace("l7proto: r2d2", "l7proto: python:r2d2:R2d2")

# Passes lines; what it does with some of them, each test says.
LINES = """\
from cilium_proxy.l7 import Error, Inject, More, Parser, Pass

class Lines(Parser):
    def on_data(self, reply, end_stream, data):
        line, end, _ = data.partition(b"\\n")
        if not end:
            return More()
        if not reply:
            self.special(line)
        return Pass(len(line) + 1)

    def special(self, line):
{special}
"""
LINE_RULES = """\
          rules: {l7proto: "python:lines:Lines"}"""


@pytest.fixture
def files(directory, robot):
    files = Files(directory, "127.0.0.2", robot.port, protocol="tcp")
    shutil.copytree(EXAMPLES, directory / "parsers")
    # Longer than any call takes that ends, however busy the machine is.
    files.settings["parsers"] = {"directories": ["parsers"], "time_limit": "1m"}
    files.save()
    return files


def write(files, special="pass", text=LINES, name="lines"):
    """Writes a parser, whole, as editors do."""
    fresh = files.directory / "fresh.py"
    fresh.write_text(text.replace("{special}", textwrap.indent(textwrap.dedent(special), " " * 8)))
    fresh.rename(files.directory / f"parsers/{name}.py")


def closed(stream):
    """Waits until the proxy has closed the connection."""
    with contextlib.suppress(ConnectionResetError):
        return stream.read(1) == b""
    return True


def refused(files):
    """A connection comes to nothing."""
    try:
        connection, stream = connect(files)
    except ConnectionResetError:
        return True
    with connection, stream:
        with contextlib.suppress(ConnectionError):
            stream.write(b"READ public/plans\n")
        return closed(stream)


def said(proxy, text):
    """Waits until the proxy has said it, before it was ready or after."""
    return eventually(lambda: [line for line in proxy.lines if text in line])[0]


def counter(files, name):
    stats = httpx.get(f"http://127.0.0.1:{files.admin_port}/stats?filter=parser.closed").text
    return int(re.search(rf"parser\.closed\.{name}: (\d+)", stats)[1])


def test_an_exception_closes_its_connection_alone(files, run):
    write(files, 'if line == b"fail": raise KeyError("droid")')
    files.policy(LINE_RULES)
    proxy = run(files)
    (failing, failing_stream), (other, stream) = connect(files), connect(files)
    with failing, failing_stream, other, stream:
        assert ask(stream, b"one\n") == b"OK\r\n"
        failing_stream.write(b"fail\n")
        assert closed(failing_stream)
        proxy.wait_for("KeyError: 'droid'")
        proxy.wait_for("lines.py")
        assert counter(files, "failed") == 1
        assert ask(stream, b"two\n") == b"OK\r\n"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("None", "on_data returned None, which is no operation"),
        ("Pass(0)", "counts are whole numbers of at least 1"),
        ("Pass(-1)", "counts are whole numbers of at least 1"),
        ("Pass('all')", "counts are whole numbers of at least 1"),
        ("Inject(5)", "injects more bytes than it has"),
        ("[]", "no operation"),
        ("[More(), Pass(1)]", "operations after More"),
        ("Error(7)", "on_data returned Error"),
    ],
)
def test_a_result_that_cannot_be_closes(files, robot, run, result, reason):
    write(files, text=LINES.replace("return Pass(len(line) + 1)", f"return {result}"))
    files.policy(LINE_RULES)
    proxy = run(files)
    connection, stream = connect(files)
    with connection, stream:
        stream.write(b"one\n")
        assert closed(stream)
    said(proxy, reason)
    assert robot.lines == []


def test_a_parser_that_hangs_closes_its_connection_and_others_go_on(files, run):
    write(files, 'while line == b"hang": pass')
    files.policy(LINE_RULES)
    files.settings["parsers"]["time_limit"] = "3s"
    files.save()
    proxy = run(files)
    (hanging, hanging_stream), (other, stream) = connect(files), connect(files)
    with hanging, hanging_stream, other, stream:
        hanging_stream.write(b"hang\n")
        # Waits behind the other, and then goes on.
        assert ask(stream, b"one\n") == b"OK\r\n"
        assert closed(hanging_stream)
        proxy.wait_for("a call took longer than 3s")
        assert counter(files, "timed_out") == 1
        assert ask(stream, b"two\n") == b"OK\r\n"


def test_envoy_goes_on_and_stops_where_a_parser_is_stuck_in_c(files, run):
    plain = free_port("127.0.0.2")
    first = files.settings["listeners"][0]
    files.settings["listeners"].append(first | {"name": "plain", "address": f"127.0.0.2:{plain}", "port": 1})
    write(files, "if line == b'stuck': import itertools; sum(itertools.repeat(0))")
    files.policy(LINE_RULES + '\n        - ports: [{port: "1", protocol: TCP}]')
    files.settings["parsers"]["time_limit"] = "3s"
    files.save()
    proxy = run(files)
    (stuck, stuck_stream), (waiting, waiting_stream) = connect(files), connect(files)
    with stuck, stuck_stream, waiting, waiting_stream:
        stuck_stream.write(b"stuck\n")
        assert closed(stuck_stream)
        proxy.wait_for("does not return from a call and cannot be interrupted")
        with contextlib.suppress(ConnectionError):
            waiting_stream.write(b"one\n")
        assert closed(waiting_stream)
        other = socket.create_connection(("127.0.0.2", plain), LIMIT, source_address=(files.source, 0))
        with other, other.makefile("rwb", buffering=0) as stream:
            assert ask(stream, b"one\n") == b"OK\r\n"
    assert proxy.stop() == 0


def test_memory_without_bound_closes_its_connection_alone(files, run):
    write(files, 'kept = []\nwhile line == b"eat": kept.append(bytes(1 << 20))')
    files.policy(LINE_RULES)
    files.settings["parsers"]["memory_mib"] = 64
    files.save()
    proxy = run(files)
    (eating, eating_stream), (other, stream) = connect(files), connect(files)
    with eating, eating_stream, other, stream:
        eating_stream.write(b"eat\n")
        assert closed(eating_stream)
        proxy.wait_for("no memory is left for parsers")
        assert ask(stream, b"two\n") == b"OK\r\n"


def test_connections_that_end_while_they_are_judged_leave_the_others_alone(files, run):
    write(files, 'if line == b"fail": raise KeyError("droid")')
    files.policy(LINE_RULES)
    run(files)
    connection, stream = connect(files)
    with connection, stream:
        for number in range(300):
            ending, ending_stream = connect(files)
            with ending, ending_stream:
                ending_stream.write(b"fail\n" if number % 2 else b"one\n")
        assert ask(stream, b"two\n") == b"OK\r\n"


def test_an_edit_is_for_new_connections(files, run):
    write(files, 'self.inject(True, b"old ")')
    files.policy(LINE_RULES)
    files.settings["envoy"] = {"log_level": "info"}
    files.save()
    proxy = run(files)
    connection, stream = connect(files)
    with connection, stream:
        assert ask(stream, b"one\n") == b"old OK\r\n"
        write(files, 'self.inject(True, b"new ")')
        proxy.wait_for("python:lines:Lines is loaded anew")
        assert ask(stream, b"two\n") == b"old OK\r\n"
        assert ask_once(files, b"one\n") == b"new OK\r\n"
        write(files, "what is this?")
        line = proxy.wait_for("the edit of python:lines:Lines is refused")
        assert "SyntaxError" in line
        assert ask_once(files, b"one\n") == b"new OK\r\n"
        write(files, 'self.inject(True, b"mended ")')
        proxy.wait_for("python:lines:Lines is loaded anew")
        assert ask_once(files, b"one\n") == b"mended OK\r\n"


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (LINE_RULES.replace("lines:Lines", "no.such:Lines"), "there is no module no in"),
        (LINE_RULES.replace("lines:Lines", "lines:Circles"), "the class is not there"),
        (LINE_RULES.replace("lines:Lines", "lines"), "is not python:package.module:Class"),
        (LINE_RULES.replace("lines:Lines", "os:Lines"), "os is a module of Python"),
        (LINE_RULES.replace("lines:Lines", "broken:Lines"), "the import of broken failed: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_run_lets_nothing_pass(files, robot, run, rules, reason):
    write(files)
    (files.directory / "parsers/broken.py").write_text("1 / 0\n")
    files.policy(rules)
    proxy = run(files)
    assert refused(files)
    said(proxy, reason)
    assert robot.lines == []


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (R2D2.replace("cmd: READ", "command: READ"), "unknown key 'command', the keys are cmd, file"),
        (R2D2.replace("cmd: READ", "cmd: SING"), "cmd 'SING' is not READ, WRITE, HALT or RESET"),
        (R2D2.replace("^public/", "("), "is not a regular expression"),
    ],
)
def test_a_rule_that_makes_no_sense_denies_everything(files, robot, run, rules, reason):
    files.policy(rules)
    proxy = run(files)
    assert ask_once(files, b"HALT\r\n") == b"ERROR\r\n"
    said(proxy, reason)
    assert robot.lines == []


def test_directories_that_everyone_can_write_are_not_used(files, robot, run):
    files.policy(R2D2)
    (files.directory / "parsers").chmod(0o777)
    proxy = run(files)
    assert refused(files)
    said(proxy, "can be written by everyone")
    assert robot.lines == []


def test_without_directories_no_python_is_run(files, robot, run):
    del files.settings["parsers"]
    files.save()
    files.policy(R2D2)
    run(files)
    assert refused(files)
    (entry,) = eventually(files.entries)
    assert "no directories for Python parsers are set" in str(entry)
    assert robot.lines == []


class Echo:
    """Sends back what one client sends, until the end."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self.server.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)


def test_many_bytes_pass_in_order_with_their_end(files, run):
    echo = Echo()
    files.settings["listeners"][0]["upstream"] = f"127.0.0.1:{echo.port}"
    files.save()
    write(files)
    files.policy(LINE_RULES)
    run(files)
    sent = b"".join(b"%d %s\n" % (number, b"x" * (number % 977)) for number in range(8000))
    got = bytearray()
    connection, stream = connect(files)
    with connection, stream:
        reader = threading.Thread(target=lambda: got.extend(stream.readall()))
        reader.start()
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        reader.join(LIMIT * 2)
    assert bytes(got) == sent
    echo.server.close()
