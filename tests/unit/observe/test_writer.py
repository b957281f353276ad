import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cilium_proxy.observe import FileTarget, StreamTarget, Writer


def line(entry: Any, _: bytes) -> bytes:
    return f"{entry}\n".encode()


class Gate:
    """A target that blocks until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.pieces: list[bytes] = []

    def write(self, pieces: list[bytes]) -> int:
        self.entered.set()
        self.opened.wait(30)
        self.pieces += pieces
        return len(pieces)

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_target_that_blocks_loses_entries_and_holds_up_nobody() -> None:
    gate = Gate()
    writer = Writer(gate, line, size=2)
    writer.put(0, b"")
    assert gate.entered.wait(30)
    for number in range(1, 6):
        writer.put(number, b"")
    assert writer.stats.dropped == 3
    gate.opened.set()
    writer.close(30)
    assert gate.pieces == [b"0\n", b"1\n", b"2\n"]
    assert writer.stats.written == 3


def test_closing_does_not_wait_for_a_target_that_blocks() -> None:
    gate = Gate()
    writer = Writer(gate, line, size=1)
    writer.put(0, b"")
    assert gate.entered.wait(30)
    writer.put(1, b"")
    writer.close(0.01)
    assert not gate.pieces
    gate.opened.set()


def test_a_reader_that_is_gone_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = Writer(StreamTarget(descriptor), line)
    writer.put(0, b"")
    writer.close(30)
    os.close(descriptor)
    assert (writer.stats.written, writer.stats.failed) == (0, 1)
    assert "entries are lost until it works again" in caplog.text


def test_a_stream_gets_lines_in_order() -> None:
    reader, descriptor = os.pipe()
    writer = Writer(StreamTarget(descriptor), line)
    for number in range(1000):
        writer.put(number, b"")
    writer.close(30)
    os.close(descriptor)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"".join(b"%d\n" % number for number in range(1000))


def test_a_stream_that_does_not_block_is_waited_for() -> None:
    reader, descriptor = os.pipe()
    os.set_blocking(descriptor, False)
    data = bytes(1 << 20)
    read = []

    def consume() -> None:
        with os.fdopen(reader, "rb") as pipe:
            read.append(pipe.read())

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert StreamTarget(descriptor).write([data]) == 1
    os.close(descriptor)
    consumer.join()
    assert read == [data]


def written(target: FileTarget, *pieces: bytes) -> None:
    assert target.write(list(pieces)) == len(pieces)


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"before\n")
    target = FileTarget(path)
    written(target, b"a\n", b"b\n")
    target.close()
    assert path.read_bytes() == b"before\na\nb\n"


def moved(path: Path, target: FileTarget) -> None:
    path.rename(path.with_suffix(".1"))


def moved_and_created(path: Path, target: FileTarget) -> None:
    path.rename(path.with_suffix(".1"))
    path.touch()


def moved_and_told(path: Path, target: FileTarget) -> None:
    path.rename(path.with_suffix(".1"))
    target.reopen()


@pytest.mark.parametrize("rotate", [moved, moved_and_created, moved_and_told])
def test_a_rotated_file_is_opened_anew(tmp_path: Path, rotate: Callable[[Path, FileTarget], None]) -> None:
    path = tmp_path / "access.log"
    target = FileTarget(path)
    written(target, b"old\n")
    rotate(path, target)
    written(target, b"new\n")
    target.close()
    assert path.with_suffix(".1").read_bytes() == b"old\n"
    assert path.read_bytes() == b"new\n"


def test_a_file_truncated_in_place_goes_on_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    target = FileTarget(path)
    written(target, b"old\n")
    os.truncate(path, 0)
    written(target, b"new\n")
    target.close()
    assert path.read_bytes() == b"new\n"


def test_the_old_file_is_used_while_the_new_one_cannot_be_opened(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    target = FileTarget(directory / "access.log")
    moved_to = tmp_path / "moved"
    directory.rename(moved_to)
    written(target, b"a\n")
    directory.mkdir()
    written(target, b"b\n")
    target.close()
    assert (moved_to / "access.log").read_bytes() == b"a\n"
    assert (directory / "access.log").read_bytes() == b"b\n"


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        FileTarget(tmp_path / "missing" / "access.log")
