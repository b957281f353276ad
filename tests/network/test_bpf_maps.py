from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.network.bpf_maps import (
    TRIE,
    PinnedMaps,
    conntrack_entry,
    conntrack_key,
    ipcache_key,
    ipcache_value,
)
from tests.network.namespaces import line, run
from tests.network.native import Native

pytestmark = pytest.mark.network

WITHOUT_BPF: list[str | Path] = [sys.executable, Path(__file__).parent / "without_bpf.py"]
IPCACHE_KEY = 24
CONNTRACK_ENTRY = 56


def look_up(native: Native, maps: PinnedMaps, *arguments: str, by_service: bool = False) -> list[str]:
    """What the unprivileged reader prints; the first line says how it read."""
    prefix = WITHOUT_BPF if by_service else []
    command = native.confined(*prefix, native.look_up, maps.root, *arguments, root=maps.root, preload=False)
    return run(*command, text="").splitlines()


def failure(native: Native, maps: PinnedMaps, *arguments: str) -> str:
    with pytest.raises(RuntimeError) as error:
        look_up(native, maps, *arguments)
    return str(error.value)


@pytest.mark.parametrize("by_service", [False, True])
@pytest.mark.parametrize("value_size", [12, 24])
def test_the_longest_prefix_of_the_ipcache_gives_the_identity(
    native: Native, maps: PinnedMaps, value_size: int, by_service: bool
) -> None:
    maps.create("cilium_ipcache_v2", TRIE, IPCACHE_KEY, value_size)
    entries = {"10.1.0.0/16": 100, "10.1.1.1/32": 111, "f00d::/64": 200, "f00d::1/128": 0x01FFFFFF, "::/0": 9}
    for prefix, identity in entries.items():
        maps.update("cilium_ipcache_v2", ipcache_key(prefix), ipcache_value(identity, value_size))
    addresses = ["10.1.1.1", "10.1.1.2", "10.2.0.1", "f00d::1", "f00d::2", "face::1", "10.1.1.1"]
    way, *identities = look_up(native, maps, "ipcache", "cilium_ipcache_v2", *addresses, by_service=by_service)
    assert way == ("by service" if by_service else "direct")
    assert identities == ["111", "100", "-", str(0x01FFFFFF), "200", "9", "111"]


def test_a_reopened_ipcache_is_the_one_pinned_now(native: Native, maps: PinnedMaps) -> None:
    def pin(identity: int, value_size: int) -> None:
        maps.create("cilium_ipcache", TRIE, IPCACHE_KEY, value_size)
        maps.update("cilium_ipcache", ipcache_key("10.1.1.1/32"), ipcache_value(identity, value_size))

    pin(7, 12)
    arguments = ["ipcache", "cilium_ipcache", "10.1.1.1", "-", "10.1.1.1"]
    command = native.confined(native.look_up, maps.root, *arguments, root=maps.root, preload=False)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert line(reader) == "direct"
        assert line(reader) == "7"
        maps.remove("cilium_ipcache")
        pin(8, 24)
        answer, _ = reader.communicate("\n", timeout=30)
        assert answer.split() == ["8"]


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("hash", 24, 12, "is a hash map, not LPM trie"),
        (TRIE, 20, 12, "has keys of 20 bytes, not 24"),
        (TRIE, 24, 72, "has values of 72 bytes, not 4 to 64"),
        ("array", 4, 12, "neither a hash nor an LPM trie"),
        ("percpu_hash", 24, 12, "neither a hash nor an LPM trie"),
        ("hash", 24, 4096, "keys or values too long"),
    ],
)
def test_another_layout_is_named(
    native: Native, maps: PinnedMaps, kind: str, key: int, value: int, message: str
) -> None:
    maps.create("cilium_ipcache", kind, key, value)
    error = failure(native, maps, "ipcache", "cilium_ipcache", "10.1.1.1")
    assert f"BPF map {maps.path('cilium_ipcache')}: " in error
    assert message in error


def test_a_missing_map_is_named(native: Native, maps: PinnedMaps) -> None:
    maps.create("other", TRIE, IPCACHE_KEY, 12)
    error = failure(native, maps, "ipcache", "cilium_ipcache", "10.1.1.1")
    assert f"BPF map {maps.path('cilium_ipcache')}: no such map" in error


def test_a_map_below_another_root_is_not_opened(native: Native, maps: PinnedMaps) -> None:
    maps.create("cilium_ipcache", TRIE, IPCACHE_KEY, 12)
    command = native.confined(
        *(native.look_up, maps.root, "ipcache", "cilium_ipcache", "10.1.1.1"), root="/sys/fs/bpf", preload=False
    )
    with pytest.raises(RuntimeError, match="not below an allowed BPF root"):
        run(*command)


def test_links_are_followed_below_the_root_only(native: Native, maps: PinnedMaps, tmp_path: Path) -> None:
    maps.create("cilium_ipcache", TRIE, IPCACHE_KEY, 12)
    maps.update("cilium_ipcache", ipcache_key("10.1.1.1/32"), ipcache_value(7, 12))
    maps.path("inside").symlink_to("cilium_ipcache")
    maps.path("outside").symlink_to(maps.path("cilium_ipcache"))
    assert look_up(native, maps, "ipcache", "inside", "10.1.1.1")[1:] == ["7"]
    assert "a link on the way leaves the BPF root" in failure(native, maps, "ipcache", "outside", "10.1.1.1")


@pytest.mark.parametrize("by_service", [False, True])
@pytest.mark.parametrize("kind", ["lru_hash", "hash"])
@pytest.mark.parametrize(
    ("name", "key_size", "source", "destination"),
    [
        ("cilium_ct4_global", 14, ("10.1.1.1", 40001), ("10.2.2.2", 80)),
        ("cilium_ct6_global", 38, ("f00d::1:1", 40001), ("f00d::2:2", 80)),
    ],
)
def test_conntrack_gives_the_source_identity_of_each_side(
    native: Native,
    maps: PinnedMaps,
    kind: str,
    name: str,
    key_size: int,
    source: tuple[str, int],
    destination: tuple[str, int],
    by_service: bool,
) -> None:
    maps.create(name, kind, key_size, CONNTRACK_ENTRY)
    maps.update(name, conntrack_key(source, destination, ingress=True), conntrack_entry(111))
    maps.update(name, conntrack_key(source, destination, ingress=False), conntrack_entry(222))

    def identity(side: str, source: tuple[str, int], destination: tuple[str, int]) -> str:
        addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (source, destination)]
        way, identity = look_up(native, maps, "conntrack", side, *addresses, by_service=by_service)
        assert way == ("by service" if by_service else "direct")
        return identity

    assert identity("ingress", source, destination) == "111"
    assert identity("egress", source, destination) == "222"
    assert identity("ingress", destination, source) == "-"


def test_a_conntrack_map_made_anew_is_found(native: Native, maps: PinnedMaps) -> None:
    def pin(identity: int) -> None:
        maps.create("cilium_ct4_global", "lru_hash", 14, CONNTRACK_ENTRY)
        key = conntrack_key(("10.1.1.1", 40001), ("10.2.2.2", 80), ingress=True)
        maps.update("cilium_ct4_global", key, conntrack_entry(identity))

    maps.create("cilium_ct4_global", "lru_hash", 14, CONNTRACK_ENTRY)
    arguments = ["conntrack", "ingress", "10.1.1.1:40001", "10.2.2.2:80"]
    command = native.confined(native.look_up, maps.root, *arguments, root=maps.root, preload=False)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert line(reader) == "direct"
        assert line(reader) == "-"
        maps.remove("cilium_ct4_global")
        pin(8)
        assert reader.stdin is not None
        # A missing entry does not make it look at once: only so often is the map opened again.
        answers = ["-"]
        while answers[-1] == "-":
            reader.stdin.write("\n")
            reader.stdin.flush()
            answers.append(line(reader))
        assert answers[-1] == "8"
        reader.stdin.close()
