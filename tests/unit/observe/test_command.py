import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.observe.conftest import MakeEntry
from tests.unit.observe.test_receiver import Connect, until

from cilium_proxy.cli.observe import command
from cilium_proxy.observe import print_line


@pytest.fixture
def log(tmp_path: Path, make_entry: MakeEntry) -> str:
    path = tmp_path / "access.log"
    entries = [
        make_entry(),
        make_entry(entry_type="Denied", cilium_rule_ref="why", http={"path": "/admin", "method": "POST"}),
    ]
    path.write_text("".join(print_line(entry) + "\n" for entry in entries))
    return str(path)


def lines(*arguments: str) -> list[str]:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_all_entries_are_shown_compact(log: str) -> None:
    shown = lines(log)
    assert len(shown) == 2
    assert shown[1].endswith("http-request DROPPED (HTTP/1.1 POST http://host/admin): why")


def test_denials_are_shown_as_json(log: str) -> None:
    (shown,) = lines("--verdict", "denied", "-o", "json", log)
    assert json.loads(shown)["ciliumRuleRef"] == "why"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--path", "^/admin$"], 1),
        (["--method", "get"], 1),
        (["--endpoint", "127.0.0.2"], 2),
        (["--endpoint", "127.0.0.9"], 0),
        (["--since", "2026-11-23T10:00:00Z"], 2),
        (["--since", "2126-11-23T10:00:00+01:00"], 0),
        (["--since", "36500d"], 2),
        (["--last", "1"], 1),
        (["--verdict", "forwarded", "--path", "admin"], 0),
    ],
)
def test_options_choose(log: str, options: list[str], count: int) -> None:
    assert len(lines(*options, log)) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--path", "(", "x"], "is not a regular expression"),
        (["--since", "yesterday", "x"], "write 90s, 5m"),
        (["--since", "9999999999d", "x"], "write 90s, 5m"),
        (["/nowhere/access.log"], "/nowhere/access.log: No such file"),
        (["/nowhere/log.sock"], "cannot listen on /nowhere/log.sock"),
        ([], "Missing argument 'SOURCE'"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_a_socket_is_shown_until_a_signal_and_removed(
    tmp_path: Path, connect: Connect, make_entry: MakeEntry, stop: signal.Signals
) -> None:
    path = tmp_path / "log.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cilium_proxy", "observe", str(path), stdout=asyncio.subprocess.PIPE
    )
    try:
        await until(path.exists)
        # It exists before it is listened on, with a mode that keeps others out.
        await until(lambda: path.stat().st_mode & 0o777 == 0o660)
        assert process.stdout is not None
        sender = None
        async with asyncio.timeout(30):
            while sender is None:
                try:
                    sender = connect(path)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
            sender.send(make_entry().SerializeToString())
            assert b"http-request FORWARDED" in await process.stdout.readline()
            process.send_signal(stop)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not path.exists()
