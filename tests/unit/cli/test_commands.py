import asyncio
import json
import threading

import pytest
import yaml
from click.testing import CliRunner

from cilium_proxy.cli import group
from cilium_proxy.relay import sockets
from cilium_proxy.supervisor.control import ControlServer
from cilium_proxy.version import __version__

STATUS = {
    "state": "running",
    "version": "9.9",
    "pid": 7,
    "uptime": 100.0,
    "source": {
        "file": "/etc/proxy.yaml",
        "state": "in force",
        "error": None,
        "error_at": None,
        "applied_at": 1.0,
        "needs_restart": [],
        "warnings": ["rule.yaml:3: secret `default/s` is missing"],
    },
    "policies": {"version": "3", "resources": 2, "error": None},
    "hosts": {"version": "2", "resources": 4, "error": None},
    "envoy": {"pid": 8, "uptime": 90.0, "restarts": 1, "last_exit": "signal SIGKILL"},
    "modules": [{"instance": "envoy", "age": 90.0, "versions": {"NetworkPolicy": "3"}}],
    "listeners": [
        {
            "name": "in",
            "direction": "ingress",
            "address": "127.0.0.1:80",
            "endpoint": "api",
            "upstream": "127.0.0.1:81",
            "protocol": "http",
        }
    ],
}


def invoke(*arguments):
    return CliRunner().invoke(group, list(arguments))


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A proxy's control socket that answers with what the test says; the state directory is the default one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    answer = json.loads(json.dumps(STATUS))
    (tmp_path / "cilium-proxy/abc").mkdir(parents=True)

    async def status():
        return answer

    async def serve():
        server = ControlServer(tmp_path / "cilium-proxy/abc/control.sock", {"status": status})
        await server.start()
        started.set()
        await asyncio.to_thread(ended.wait)
        await server.close()

    started, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    yield answer
    ended.set()
    thread.join()


def test_help_lists_the_commands_that_exist():
    shown = invoke("--help").output
    for name in ("run", "status", "version", "completion"):
        assert f"\n  {name} " in shown
    assert all(f"\n  {name} " not in shown for name in ("output", "nonsense"))


def test_every_listed_command_has_help():
    for name in group.list_commands(None):
        result = invoke(name, "--help")
        assert result.exit_code == 0, name
        assert "Usage: " in result.output


def test_an_unknown_command_is_wrong_usage():
    result = invoke("nonsense")
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_version_names_ours_envoys_and_the_interface():
    result = invoke("version", "-o", "json")
    assert result.exit_code == 0
    versions = json.loads(result.output)
    assert (versions["version"], versions["envoy"], versions["abi"]) == (__version__, "1.40.0", "v0.2.0")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell):
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_CILIUM_PROXY_COMPLETE" in result.output


def test_status_shows_the_running_proxy(running):
    result = invoke("status")
    assert result.exit_code == 0
    for text in (
        "running for 1 min",
        "/etc/proxy.yaml: in force",
        "pid 8",
        "1 restarts",
        "NetworkPolicy 3",
        "127.0.0.1:80",
        "warning: rule.yaml:3: secret `default/s` is missing",
    ):
        assert text in result.output


def test_status_in_other_forms(running):
    assert json.loads(invoke("status", "-o", "json").output) == running
    assert yaml.safe_load(invoke("status", "-o", "yaml").output) == running
    assert "PART" in invoke("status", "-o", "table").output


def test_status_fails_and_says_why_when_an_edit_was_refused(running):
    running["source"] |= {"state": "refused", "error": "proxy.yaml:3: wrong\nproxy.yaml:4: bad", "error_at": 2.0}
    result = invoke("status")
    assert result.exit_code == 1
    assert "proxy.yaml:3: wrong" in result.output
    assert "proxy.yaml:4: bad" in result.output


def test_status_fails_when_envoy_does_not_run(running):
    running["state"] = "waiting to restart"
    running["envoy"] |= {"pid": None, "uptime": None}
    result = invoke("status")
    assert result.exit_code == 1
    assert "not running, 1 restarts, last signal SIGKILL" in result.output


def test_status_without_a_proxy_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    result = invoke("status")
    assert result.exit_code == 1
    assert "no proxy runs here" in result.output


def test_status_asks_which_of_several_proxies(running, tmp_path):
    (tmp_path / "cilium-proxy/other").mkdir()
    with sockets.listen(tmp_path / "cilium-proxy/other/control.sock"):
        result = invoke("status")
    assert result.exit_code == 2
    assert "say which" in result.output


def test_run_with_a_wrong_configuration_says_where(tmp_path):
    (tmp_path / "proxy.yaml").write_text("listeners: 3\nnonsense: 1\n")
    result = invoke("run", "-c", str(tmp_path / "proxy.yaml"), "--state-dir", str(tmp_path / "state"))
    assert result.exit_code == 2
    assert "proxy.yaml:2" in result.output


def test_run_without_a_configuration_says_so(tmp_path):
    result = invoke("run", "-c", str(tmp_path / "none.yaml"), "--state-dir", str(tmp_path / "state"))
    assert result.exit_code == 2
    assert "none.yaml" in result.output
