from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.network.namespaces import Network, line, run
from tests.network.native import Native

pytestmark = pytest.mark.network

NET_BIND_SERVICE = 1 << 10
NOBODY = "65534"
STATUS = ("cat", "/proc/self/status")


def capabilities(status: str) -> dict[str, int]:
    lines = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    return {kind.removeprefix("Cap"): int(value, 16) for kind, value in lines.items()}


def everywhere(mask: int) -> dict[str, int]:
    return dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), mask)


@pytest.fixture
def launch(native: Native, tmp_path: Path) -> Path:
    """The launcher where any user may run it."""
    # pytest's directories are the user's own.
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    return Path(shutil.copy(native.launch, tmp_path))


def test_all_capabilities_are_dropped_for_good(launch: Path) -> None:
    status = run(launch, "--", *STATUS)
    assert capabilities(status) == everywhere(0)
    assert "NoNewPrivs:\t1\n" in status


def test_low_ports_may_be_kept(launch: Path) -> None:
    status = run(launch, "--keep-cap-net-bind-service", "--", *STATUS)
    assert capabilities(status) == everywhere(NET_BIND_SERVICE)
    assert "NoNewPrivs:\t1\n" in status


@pytest.mark.parametrize("keep", [True, False])
def test_a_low_port_is_bound_only_with_the_capability(network: Network, launch: Path, keep: bool) -> None:
    bind = "import socket; socket.socket().bind(('127.0.0.1', 80)); print('bound')"
    options = ["--keep-cap-net-bind-service"] if keep else []
    command: list[str | Path] = [launch, *options, "--", sys.executable, "-c", bind]
    if keep:
        assert network.node.run(*command) == "bound\n"
    else:
        with pytest.raises(RuntimeError, match="Permission denied"):
            network.node.run(*command)


def test_another_user_has_nothing_to_drop(launch: Path) -> None:
    user = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    status = run(*user, launch, "--keep-cap-net-bind-service", "--", *STATUS)
    assert "NoNewPrivs:\t1\n" in status
    assert {kind: mask for kind, mask in capabilities(status).items() if kind != "Bnd"} == {
        "Inh": 0,
        "Prm": 0,
        "Eff": 0,
        "Amb": 0,
    }


def test_another_user_keeps_low_ports_over_exec(launch: Path) -> None:
    grant = ["--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"]
    user = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", *grant]
    kept = capabilities(run(*user, launch, "--keep-cap-net-bind-service", "--", *STATUS))
    assert (kept["Eff"], kept["Amb"]) == (NET_BIND_SERVICE, NET_BIND_SERVICE)
    dropped = capabilities(run(*user, launch, "--", *STATUS))
    assert (dropped["Prm"], dropped["Eff"], dropped["Amb"]) == (0, 0, 0)


def test_the_program_ends_with_its_supervisor(launch: Path) -> None:
    # The shell is the supervisor: it says who it is, waits for a line and ends.
    script = f"{launch} --parent-pid $$ -- sleep 600 & echo $!; read end; exec kill -9 $$"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        program = os.pidfd_open(int(line(shell)))
        shell.communicate("\n")
        # A pidfd is readable once its process has ended.
        ready, _, _ = select.select([program], [], [], 30)
        os.close(program)
        assert ready


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--", "/nonexistent"], 127, "cannot start /nonexistent: No such file or directory"),
        (["--preload", "/nonexistent.so", "--", "true"], 126, "cannot preload /nonexistent.so"),
        (["--service-fd", "200", "--", "true"], 126, "descriptor 200 of the privileged service"),
        (["--parent-pid", "9999999", "--", "true"], 126, "the supervisor (process 9999999) has ended"),
        (["--unknown", "--", "true"], 2, "unknown argument --unknown"),
    ],
)
def test_what_cannot_be_started_is_named(launch: Path, arguments: list[str], status: int, message: str) -> None:
    done = subprocess.run([launch, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(f"cilium-envoy-launch: {message}")
