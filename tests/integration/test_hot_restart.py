"""Another Envoy takes over while requests flow."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.integration.files import http_rule
from tests.integration.load import Load
from tests.proxy_process import PROGRAM, eventually, recorded

from cilium_proxy.supervisor import control

OPEN, SHUT = http_rule(path="/x"), http_rule(path="/other")


@pytest.fixture
def proxy(files4, run):
    """A standalone proxy that allows /x, with one worker."""
    files4.settings["concurrency"] = 1
    files4.save()
    files4.policy(OPEN)
    return run(files4)


def restart(proxy):
    """`cilium-proxy restart` as people run it."""
    return subprocess.run(
        [*PROGRAM, "restart", "--state-dir", str(proxy.state)], capture_output=True, text=True, timeout=180
    )


def workers(pid):
    """Envoy's worker threads."""
    names = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
    return len([name for name in names if name.startswith("wrk:")])


async def test_no_request_fails_and_settings_are_those_of_now(files4, proxy):
    before = proxy.envoy()
    assert workers(before) == 1
    files4.settings |= {"concurrency": 2, "drain_time": 1}
    files4.save()
    proxy.wait_for("`cilium-proxy restart`")
    async with Load(files4, "/x") as allowed, Load(files4, "/y") as denied, Load(files4, "/x", reuse=False) as single:
        for load in (allowed, denied, single):
            await load.more(100)
        result = await asyncio.to_thread(restart, proxy)
        assert result.returncode == 0, result.stderr
        for load in (allowed, denied, single):
            await load.more(100)
    assert {outcome.status for outcome in [*allowed.outcomes, *single.outcomes]} == {200}
    assert {outcome.status for outcome in denied.outcomes} == {403}
    after = proxy.status()
    assert (after["envoy"]["epoch"], after["envoy"]["restarts"]) == (1, 0)
    assert after["envoy"]["pid"] != before
    assert after["source"]["needs_restart"] == []
    assert workers(after["envoy"]["pid"]) == 2


async def test_both_envoys_enforce_the_policy_of_now(files4, proxy):
    connection = await asyncio.open_connection(files4.host, files4.port, local_addr=(files4.source, 0))
    assert await ask(connection, "/x") == 200
    assert (await asyncio.to_thread(restart, proxy)).returncode == 0
    assert len(proxy.status()["envoy"]["retiring"]) == 1
    files4.policy(SHUT)
    await asyncio.to_thread(proxy.wait_for, "in force")
    # The connection is one of the Envoy that drains.
    assert await ask(connection, "/x") == 403
    connection[1].close()
    with files4.client() as client:
        assert [client.get(path).status_code for path in ("/x", "/other")] == [403, 200]


async def ask(connection, path):
    """A request on an open connection."""
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:"))
    await reader.readexactly(length)
    return int(head.split()[1])


def test_a_new_envoy_that_does_not_start_leaves_the_old_one_serving(files4, proxy):
    before = proxy.envoy()
    files4.settings["envoy"] = {"extra_args": ["--no-such-option"]}
    files4.save()
    proxy.wait_for("`cilium-proxy restart`")
    result = restart(proxy)
    assert result.returncode == 1
    assert "no-such-option" in result.stderr
    status = proxy.status()
    assert (status["envoy"]["pid"], status["state"]) == (before, "running")
    assert "no-such-option" in status["envoy"]["restart_error"]
    with files4.client() as client:
        assert [client.get(path).status_code for path in ("/x", "/y")] == [200, 403]
    del files4.settings["envoy"]
    files4.save()
    proxy.wait_for("in force")
    assert restart(proxy).returncode == 0
    assert proxy.status()["envoy"]["restart_error"] is None


def test_the_signal_does_the_same(proxy):
    before = proxy.envoy()
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_for("took over from")
    assert proxy.envoy() != before


def test_all_envoys_end_with_the_proxy(proxy):
    assert restart(proxy).returncode == 0
    envoys = recorded(proxy.state)
    assert len(envoys) == 2
    assert proxy.stop() == 0
    for pid in envoys:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert [path.name for path in proxy.state.iterdir() if path.name == "envoy.json"] == []


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_proxy_that_is_killed_leaves_envoy_enforcing_and_the_next_one_takes_over(files4, proxy, run, restarted):
    if restarted:
        assert (await asyncio.to_thread(restart, proxy)).returncode == 0
    before = proxy.envoy()
    async with Load(files4, "/x") as allowed, Load(files4, "/y") as denied, Load(files4, "/x", reuse=False) as single:
        for load in (allowed, denied, single):
            await load.more(100)
        proxy.process.kill()
        proxy.wait()
        for load in (allowed, denied, single):
            await load.more(100)
        files4.policy(SHUT, name="another")
        successor = await asyncio.to_thread(run, files4)
        await asyncio.to_thread(eventually, lambda: successor.envoy() not in (None, before))
        for load in (allowed, denied, single):
            await load.more(100)
    assert {outcome.status for outcome in [*allowed.outcomes, *single.outcomes]} == {200}
    assert {outcome.status for outcome in denied.outcomes} == {403}
    status = successor.status()
    assert status["envoy"]["pid"] != before
    assert before in status["envoy"]["retiring"]
    with files4.client() as client:
        assert client.get("/other").status_code == 200


def test_an_adopted_envoy_that_crashes_is_started_again(files4, proxy, run):
    proxy.stop(signal.SIGKILL)
    files4.settings["envoy"] = {"extra_args": ["--no-such-option"]}
    files4.save()
    successor = run(files4)
    eventually(lambda: "no-such-option" in (successor.status()["envoy"]["restart_error"] or ""))
    with files4.client() as client:
        assert client.get("/x").status_code == 200
    before = successor.status()["source"]["applied_at"]
    del files4.settings["envoy"]
    files4.save()
    eventually(lambda: successor.status()["source"]["applied_at"] != before)
    os.kill(successor.envoy(), signal.SIGKILL)
    eventually(lambda: successor.status()["envoy"]["restarts"] == 1 and successor.status()["state"] == "running")
    with files4.client() as client:
        assert client.get("/x").status_code == 200


def test_two_proxies_with_one_state_directory_do_not_share_envoy(files4, proxy, run):
    before = proxy.envoy()
    second = run(files4, ready=False)
    assert second.wait() == 2
    assert "another process listens on" in "\n".join(second.lines)
    assert proxy.envoy() == before
    with files4.client() as client:
        assert client.get("/x").status_code == 200


def test_a_record_of_what_is_long_gone_is_nothing_to_go_on_with(files4, run):
    files4.policy(OPEN)
    state = files4.directory / "state"
    state.mkdir(mode=0o700)
    gone = {"pid": os.getpid(), "ticks": 1, "started_at": 1.0, "generation": None, "admin": {"path": "/none"}}
    (state / "envoy.json").write_text(json.dumps([gone]))
    proxy = run(files4)
    assert "going on with" not in "\n".join(proxy.lines)
    assert control.ask(proxy.state / "control.sock", "status")["envoy"]["epoch"] == 0
