import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cilium_proxy.supervisor.command import EnvoyCommand
from cilium_proxy.supervisor.process import AdoptedProcess, EnvoyProcess, describe_exit, stop


def command(*argv):
    return EnvoyCommand(argv=argv, environment={**os.environ, "MARK": "here"}).confined()


def gone(pid):
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


async def test_lines_and_exit_code_come_through():
    lines = []
    process = await EnvoyProcess.start(command("/bin/sh", "-c", "echo $MARK; echo bad >&2; exit 3"), lines.append)
    assert await process.wait() == 3
    assert sorted(lines) == ["bad", "here"]
    assert not process.running


async def test_stop_asks_first_and_kills_when_that_does_not_help():
    kind = await EnvoyProcess.start(command("/bin/sleep", "600"), print)
    await asyncio.sleep(0.2)
    assert await stop(kind) == -signal.SIGTERM
    ready = asyncio.Event()
    stubborn = await EnvoyProcess.start(
        command("/bin/sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.1; done"), lambda _: ready.set()
    )
    await ready.wait()
    assert await stop(stubborn, patience=0.2) == -signal.SIGKILL


async def test_it_has_no_way_to_new_privileges_and_all_descriptors():
    lines = []
    process = await EnvoyProcess.start(
        command("/bin/sh", "-c", "grep NoNewPrivs /proc/self/status; ulimit -n"), lines.append
    )
    await process.wait()
    assert lines[0].split() == ["NoNewPrivs:", "1"]
    assert lines[1] == subprocess.run(["/bin/sh", "-c", "ulimit -Hn"], capture_output=True, text=True).stdout.strip()


async def test_it_goes_on_without_its_supervisor_and_another_can_adopt_it():
    code = """
import asyncio
from cilium_proxy.supervisor.command import EnvoyCommand
from cilium_proxy.supervisor.process import EnvoyProcess
async def main():
    up = asyncio.Event()
    command = EnvoyCommand(argv=("/bin/sh", "-c", "echo up; exec sleep 600"), environment={}).confined()
    process = await EnvoyProcess.start(command, lambda _: up.set())
    await up.wait()
    print(process.pid, flush=True)
    await process.wait()
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    adopted = AdoptedProcess(child, os.pidfd_open(child), 0.0)
    assert adopted.running
    await stop(adopted)
    assert not adopted.running
    assert gone(child)


@pytest.mark.parametrize(
    ("code", "text"),
    [(None, "an exit code that nobody was told"), (1, "exit code 1"), (-9, "signal SIGKILL"), (-63, "signal 63")],
)
def test_exits_are_described(code, text):
    assert describe_exit(code) == text
