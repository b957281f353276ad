import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.observe.conftest import MakeEntry
from tests.unit.observe.test_receiver import Connect, until

from cilium_proxy.observe import Filter, SourceError, observe, print_line


def append(path: Path, *entries: Any) -> None:
    with path.open("a") as file:
        for entry in entries:
            file.write(print_line(entry) + "\n")


async def numbers(entries: AsyncIterator[Any]) -> list[int]:
    return [entry.proxy_id async for entry in entries]


async def following(entries: AsyncIterator[Any]) -> int:
    async with asyncio.timeout(30):
        entry = await anext(entries)
    return int(entry.proxy_id)


async def test_a_file_is_read_to_its_end(tmp_path: Path, make_entry: MakeEntry) -> None:
    log = tmp_path / "access.log"
    append(log, *(make_entry(proxy_id=number, entry_type="Denied" if number % 2 else "Request") for number in range(6)))
    assert await numbers(observe(str(log), Filter())) == [0, 1, 2, 3, 4, 5]
    assert await numbers(observe(str(log), Filter(verdict="denied"))) == [1, 3, 5]
    assert await numbers(observe(str(log), Filter(verdict="denied"), last=2)) == [3, 5]
    assert await numbers(observe(str(log), Filter(), last=0)) == []


async def test_a_line_without_end_is_left_for_later(tmp_path: Path, make_entry: MakeEntry) -> None:
    log = tmp_path / "access.log"
    append(log, make_entry(proxy_id=1))
    whole = print_line(make_entry(proxy_id=2)) + "\n"
    with log.open("a") as file:
        file.write(whole[:20])
    async with aclosing(observe(str(log), Filter(), follow=True)) as entries:
        assert await following(entries) == 1
        with log.open("a") as file:
            file.write(whole[20:])
        assert await following(entries) == 2


async def test_a_file_is_followed_through_rotations(tmp_path: Path, make_entry: MakeEntry) -> None:
    log = tmp_path / "access.log"
    append(log, make_entry(proxy_id=1), make_entry(proxy_id=2))
    async with aclosing(observe(str(log), Filter(), follow=True, last=1)) as entries:
        assert await following(entries) == 2
        append(log, make_entry(proxy_id=3))
        assert await following(entries) == 3
        log.rename(tmp_path / "rotated")
        append(tmp_path / "rotated", make_entry(proxy_id=4))
        append(log, make_entry(proxy_id=5))
        assert await following(entries) == 4
        assert await following(entries) == 5
        os.truncate(log, 0)
        next_entry = asyncio.create_task(following(entries))
        await asyncio.sleep(0.5)
        append(log, make_entry(proxy_id=6))
        assert await next_entry == 6


async def test_a_compact_log_is_refused_with_its_line(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("\nNov 23 10:00:00.123: compact\n")
    with pytest.raises(SourceError, match=r"access.log:2: not a log entry .*format: json"):
        await numbers(observe(str(log), Filter()))


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.log: No such file"):
        await numbers(observe(str(tmp_path / "missing.log"), Filter()))


async def test_a_socket_is_listened_on_and_removed(tmp_path: Path, connect: Connect, make_entry: MakeEntry) -> None:
    path = tmp_path / "log.sock"
    async with aclosing(observe(str(path), Filter(method="POST"))) as entries:
        first = asyncio.create_task(following(entries))
        await until(path.exists)
        sender = connect(path)
        sender.send(make_entry(proxy_id=1).SerializeToString())
        sender.send(make_entry(proxy_id=2, http={"method": "POST"}).SerializeToString())
        assert await first == 2
    assert not path.exists()
