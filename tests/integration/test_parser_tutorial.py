"""docs/python-parsers.md, run as it is written: files, commands and what they print."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT
from tests.integration.proxy import eventually

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/python-parsers.md"
BLOCK = re.compile(
    r'^```(?:(?P<console>console)|\w+ title="(?P<file>[^"]+)")\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)
BACKGROUND = " &"


def blocks(ports):
    """What there is to do, in order, with ports that are free: file and text, or None and commands."""
    text = DOCUMENT.read_text()
    for written, free in ports.items():
        text = re.sub(rf"\b{written}\b", str(free), text)
    return [(match["file"], match["text"]) for match in BLOCK.finditer(text)]


def commands(text):
    """Commands with what they print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def pattern(printed):
    """`...` stands for anything."""
    return re.escape(printed).replace(r"\.\.\.", ".*")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def shell(directory):
    """Runs commands as the document does; those with `&` until the test ends."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "XDG_RUNTIME_DIR": str(directory)}
    started = []

    def run(command):
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.removesuffix(BACKGROUND)}"],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)


def test_the_tutorial_does_what_it_says(directory, shell):
    server = free_port()
    for file, text in blocks({8080: free_port("127.0.0.2"), 9000: server}):
        if file is not None:
            path = directory / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        for command, printed in commands(text):
            process = shell(command)
            if not command.endswith(BACKGROUND):
                output, _ = process.communicate(timeout=LIMIT * 2)
                assert re.fullmatch(pattern(printed), output, re.DOTALL), (command, output)
            elif printed:
                lines = iter(process.stdout.readline, "")
                assert any(re.fullmatch(pattern(printed), line) for line in lines), command
            else:
                eventually(lambda: listens(server))
    assert (directory / "parsers/r2d2.py").read_text() == (ROOT / "examples/parsers/r2d2.py").read_text()
