from __future__ import annotations

import os
import select
import shutil
import signal
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
SLEEP = "echo $$; exec sleep 600"


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


def test_the_program_ends_with_the_process_that_keeps_it(launch: Path) -> None:
    with subprocess.Popen([launch, "--", "sh", "-c", SLEEP], stdout=subprocess.PIPE, text=True) as keeper:
        program = os.pidfd_open(int(line(keeper)))
        keeper.kill()
        assert ended(program)


def test_the_program_outlives_whoever_started_it(launch: Path) -> None:
    # The shell starts it, waits for a line and is killed.
    script = f"setsid {launch} -- sh -c '{SLEEP}' & read end; exec kill -9 $$"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        number = int(line(shell))
        program = os.pidfd_open(number)
        print("end", file=shell.stdin, flush=True)
        shell.wait(30)
        assert not ended(program, limit=0)
        os.kill(number, signal.SIGKILL)
        assert ended(program)


def ended(process: int, limit: float = 30) -> bool:
    """Whether the process of a pidfd ends within that many seconds."""
    # A pidfd is readable once its process has ended.
    ready, _, _ = select.select([process], [], [], limit)
    return bool(ready)


@pytest.mark.parametrize(
    ("program", "status"), [("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM), ("kill -SEGV $$", -signal.SIGSEGV)]
)
def test_the_launcher_ends_as_the_program_does(launch: Path, program: str, status: int) -> None:
    assert subprocess.run([launch, "--", "sh", "-c", program], check=False).returncode == status


def test_signals_are_passed_on(launch: Path) -> None:
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([launch, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as keeper:
        assert line(keeper) == "ready"
        keeper.send_signal(signal.SIGUSR1)
        assert keeper.wait(30) == 7


def test_the_program_may_have_as_many_open_files_as_the_hard_limit_says(launch: Path) -> None:
    soft, hard = run("sh", "-c", f"ulimit -Sn 512; {launch} -- sh -c 'ulimit -Sn; ulimit -Hn'").split()
    assert soft == hard


def test_a_capability_that_the_service_needs_is_named(launch: Path) -> None:
    user = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    done = subprocess.run(
        [*user, launch, "--bpf-root", "/sys/fs/bpf", "--", "true"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 126
    assert all(f"{name} " in done.stderr for name in ("CAP_NET_ADMIN", "CAP_BPF"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--", "/nonexistent"], 127, "cannot start /nonexistent: No such file or directory"),
        (["--preload", "/nonexistent.so", "--", "true"], 126, "cannot preload /nonexistent.so"),
        (["--bpf-root", "relative", "--", "true"], 2, "BPF root relative: not absolute"),
        (["--bpf-root", "/", "--", "true"], 2, "BPF root /: is the whole file system"),
        (["--unknown", "--", "true"], 2, "unknown argument --unknown"),
    ],
)
def test_what_cannot_be_started_is_named(launch: Path, arguments: list[str], status: int, message: str) -> None:
    done = subprocess.run([launch, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(f"cilium-envoy-launch: {message}")
