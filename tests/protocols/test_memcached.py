"""memcached with clients of each of its protocols: text, meta and binary."""

import contextlib
import socket

import bmemcached
import meta_memcache
import pymemcache
import pytest
from meta_memcache import Key, MemcacheServerError
from meta_memcache.connection.pool import ConnectionPool
from pymemcache.exceptions import MemcacheClientError
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, example
from tests.integration.proxy import eventually
from tests.protocols.conftest import Server, command

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("memcached")]

LARGE = b"x" * 900_000
READING = """\
          rules:
            l7proto: memcache
            l7: [{command: get, keyPrefix: "public/"}]"""
RULES = example("memcached")


@pytest.fixture(scope="session")
def memcached(scratch):
    port = free_port()
    arguments = [command("memcached", "memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"]
    server = Server(arguments, port, scratch / "memcached.log").wait()
    yield server
    server.stop()


@pytest.fixture
def store(memcached):
    """memcached itself, emptied, without a proxy: what has come of the clients' requests."""
    with contextlib.closing(pymemcache.Client(("127.0.0.1", memcached.port), timeout=LIMIT)) as client:
        client.flush_all()
        client.set("private/a", b"secret")
        yield client


@pytest.fixture
def proxied(memcached, store, start):
    return start(memcached.port, RULES)


@pytest.fixture
def text(proxied):
    with contextlib.closing(
        pymemcache.Client((proxied.host, proxied.port), timeout=LIMIT, default_noreply=False)
    ) as client:
        yield client


@pytest.fixture
def meta(proxied):
    with contextlib.ExitStack() as opened:

        def connect():
            return opened.enter_context(socket.create_connection((proxied.host, proxied.port), LIMIT))

        def pool(address):
            return ConnectionPool(address, connect, initial_pool_size=0, max_pool_size=1)

        address = meta_memcache.ServerAddress(proxied.host, proxied.port)
        yield meta_memcache.CacheClient.cache_client_from_servers([address], pool)


@pytest.fixture
def binary(proxied):
    client = bmemcached.Client((proxied.address,), socket_timeout=LIMIT)
    yield client
    client.disconnect_all()


def test_the_text_protocol(text, store):
    assert text.set("public/a", b"1")
    assert text.add("public/b", b"2")
    assert not text.add("public/b", b"3")
    assert text.append("public/a", b"0")
    assert text.incr("public/a", 5) == 15
    assert text.touch("public/a", 1000)
    assert text.get("public/a") == b"15"
    assert text.get_many(["public/a", "public/b", "public/none"]) == {"public/a": b"15", "public/b": b"2"}
    value, token = text.gets("public/b")
    assert text.cas("public/b", value + b"2", token)
    assert text.delete("public/a")
    assert text.get("public/a") is None
    assert text.set("public/large", LARGE)
    assert text.get("public/large") == LARGE
    assert text.version() == store.version()


@pytest.mark.parametrize(
    "denied",
    [
        lambda client: client.get("private/a"),
        lambda client: client.get_many(["public/a", "private/a"]),
        lambda client: client.set("private/a", b"mine"),
        lambda client: client.set("private/large", LARGE),
        lambda client: client.delete("private/a"),
        lambda client: client.stats(),
        lambda client: client.flush_all(),
    ],
    ids=["get", "one key of several", "set", "a large value", "delete", "stats", "flush_all"],
)
def test_the_text_protocol_denies(text, store, denied):
    text.set("public/a", b"1")
    with pytest.raises(MemcacheClientError, match="access denied"):
        denied(text)
    assert text.get("public/a") == b"1"
    assert store.get("private/a") == b"secret"


def test_text_requests_without_reply_stay_in_step(text, store):
    for index in range(200):
        place = "private" if index % 3 == 0 else "public"
        text.set(f"{place}/{index}", b"%d" % index, noreply=True)
        if index % 5 == 0:
            expected = None if place == "private" else b"%d" % index
            assert text.get(f"public/{index}") == expected
    assert text.get("public/199") == b"199"
    assert store.get("public/199") == b"199"
    assert store.get("private/198") is None


def test_the_meta_protocol(meta, store):
    key = Key("public/a")
    assert meta.set(key, "value", 1000)
    assert meta.get(key) == "value"
    assert meta.multi_get([key, Key("public/none")]) == {
        key: "value",
        Key("public/none"): None,
    }
    assert meta.delta_initialize_and_get("public/count", 1, initial_value=5, initial_ttl=1000) == 5
    assert meta.delta_and_get("public/count", 1) == 6
    assert meta.touch(key, 1000)
    assert meta.delete(key)
    assert meta.get(key) is None
    # Not ASCII: sent as base64, and checked as what it stands for.
    assert meta.set(Key("public/☃"), "snow", 1000)
    assert meta.get(Key("public/☃")) == "snow"


def test_the_meta_protocol_denies(meta, store):
    with pytest.raises(MemcacheServerError):
        meta.get("private/a")
    with pytest.raises(MemcacheServerError):
        meta.set("private/a", "mine", 1000)
    with pytest.raises(MemcacheServerError):
        meta.get(Key("private/☃"))
    assert meta.set("public/a", "value", 1000)
    assert store.get("private/a") == b"secret"


def test_the_binary_protocol(binary, store):
    assert binary.set("public/a", "value")
    assert binary.get("public/a") == "value"
    # Quiet requests, ended by one that is answered.
    assert binary.set_multi({f"public/{index}": str(index) for index in range(100)}) == []
    found = binary.get_multi([f"public/{index}" for index in range(200)])
    assert found == {f"public/{index}": str(index) for index in range(100)}
    assert binary.incr("public/count", 1, default=5) == 5
    assert binary.incr("public/count", 1) == 6
    assert binary.delete("public/a")
    assert binary.get("public/a") is None
    assert binary.set("public/large", LARGE)
    assert binary.get("public/large") == LARGE


def test_the_binary_protocol_denies(binary, store):
    with pytest.raises(bmemcached.exceptions.MemcachedException, match="access denied"):
        binary.get("private/a")
    with pytest.raises(bmemcached.exceptions.MemcachedException, match="access denied"):
        binary.set("private/a", "mine")
    with pytest.raises(bmemcached.exceptions.MemcachedException, match="access denied"):
        binary.get_multi(["public/a", "private/a", "public/b"])
    assert store.get("private/a") == b"secret"


def test_the_binary_protocol_stays_in_step_after_a_denial(binary, store):
    binary.set("public/a", "value")
    for _ in range(20):
        with pytest.raises(bmemcached.exceptions.MemcachedException, match="access denied"):
            binary.get("private/a")
        assert binary.get("public/a") == "value"


def test_a_changed_policy_counts_for_an_open_connection(proxied, text, store):
    assert text.set("public/a", b"before")
    proxied.policy(READING)
    proxied.proxy.wait_for("in force")
    with pytest.raises(MemcacheClientError, match="access denied"):
        text.set("public/a", b"after")
    assert text.get("public/a") == b"before"


def test_the_access_log_names_command_and_keys(proxied, text):
    text.set("public/a", b"1")
    with pytest.raises(MemcacheClientError):
        text.get("private/a")

    def logged():
        entries = [entry for entry in proxied.entries() if "genericL7" in entry]
        return [(entry["entryType"], entry["genericL7"]["fields"]) for entry in entries]

    eventually(lambda: len(logged()) == 3)
    assert logged() == [
        ("Request", {"command": "set", "keys": "public/a"}),
        ("Response", {"command": "set"}),
        ("Denied", {"command": "get", "keys": "private/a"}),
    ]
