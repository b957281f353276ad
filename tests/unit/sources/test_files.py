import asyncio
import contextlib

import pytest

from cilium_proxy import api
from cilium_proxy.config import load
from cilium_proxy.sources.files import FilesError, FileSource


@pytest.fixture
def source(proxy):
    return FileSource(proxy / "proxy.yaml", access_log=proxy / "access_log.sock")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


async def test_files_become_resources(source):
    snapshot = await source.read()
    policy = api.messages("cilium.NetworkPolicy").FromString(snapshot.policies["api"])
    assert list(policy.endpoint_ips) == ["127.0.0.2"]
    hosts = [api.messages("cilium.NetworkPolicyHosts").FromString(value) for value in snapshot.hosts.values()]
    assert {address for host in hosts for address in host.host_addresses} == {"127.0.0.2", "127.0.0.3"}
    assert snapshot.listeners.keys() == snapshot.clusters.keys() == {"api-in"}


async def test_listeners_do_not_change_with_policies(source, proxy):
    before = await source.read()
    edit(proxy / "policies/rule.yaml", "/public", "/private")
    after = await source.read()
    assert after.policies != before.policies
    assert (after.listeners, after.clusters, after.hosts) == (before.listeners, before.clusters, before.hosts)


async def test_identities_keep_their_numbers_when_others_come(source, proxy):
    before = await source.read()
    edit(proxy / "proxy.yaml", "identities:\n", "identities:\n  - {name: a, labels: {app: a}, cidrs: [127.0.0.9/32]}\n")
    after = await source.read()
    assert before.hosts.items() < after.hosts.items()


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        ("proxy.yaml", "endpoint: api,", "endpoint: nobody,", "proxy.yaml:6:.*nobody"),
        ("proxy.yaml", "endpoints:", "endpoints: [", "proxy.yaml:.*YAML"),
        ("proxy.yaml", "policies/]", "missing/]", "missing"),
        ("policies/rule.yaml", "method: GET", "verb: GET", "rule.yaml:10:.*verb"),
        ("policies/rule.yaml", "/public", "/(", "rule.yaml:10:"),
    ],
    ids=["unknown endpoint", "no YAML", "missing directory", "unknown field", "invalid regex"],
)
async def test_errors_name_the_place(source, proxy, file, old, new, text):
    edit(proxy / file, old, new)
    with pytest.raises(FilesError, match=text):
        await source.read()


async def test_a_missing_file_is_an_error(source, proxy):
    (proxy / "proxy.yaml").unlink()
    with pytest.raises(FilesError, match=r"proxy\.yaml"):
        await source.read()


async def test_edits_follow_one_another(source, proxy):
    await source.read()
    edits = source.edits()
    for path in ("/one", "/two"):
        waiting = asyncio.create_task(anext(edits))
        await asyncio.sleep(0.1)
        rule = proxy / "policies/rule.yaml"
        rule.write_text(rule.read_text().replace("path: /", "path: " + path))
        async with asyncio.timeout(30):
            await waiting
        assert path.encode() in (await source.read()).policies["api"]
    await edits.aclose()


async def test_an_edit_after_a_refused_one_is_noticed(source, proxy):
    await source.read()
    edits = source.edits()
    edit(proxy / "proxy.yaml", "endpoint: api,", "endpoint: nobody,")
    async with asyncio.timeout(30):
        await anext(edits)
    with pytest.raises(FilesError):
        await source.read()
    edit(proxy / "proxy.yaml", "endpoint: nobody,", "endpoint: api,")
    async with asyncio.timeout(30):
        await anext(edits)
    assert (await source.read()).listeners.keys() == {"api-in"}
    await edits.aclose()


async def test_reload_yields_without_an_edit(source):
    await source.read()
    edits = source.edits()
    waiting = asyncio.create_task(anext(edits))
    await asyncio.sleep(0.1)
    source.reload()
    async with asyncio.timeout(30):
        await waiting
    await edits.aclose()


async def test_files_read_twice_are_the_same_state(source, proxy):
    first = await source.read()
    assert await source.read() == first
    edit(proxy / "policies/rule.yaml", "/public", "/private")
    assert await source.read() != first


async def test_an_edit_of_a_file_that_was_just_read_is_noticed(source, proxy, monkeypatch):
    def load_then_edit(file):
        config = load(file)
        if "127.0.0.2:18080" in file.read_text():
            edit(file, "127.0.0.2:18080", "127.0.0.2:18081")
        return config

    monkeypatch.setattr("cilium_proxy.sources.files.load", load_then_edit)
    before = await source.read()
    async with asyncio.timeout(20), contextlib.aclosing(source.edits()) as edits:
        await anext(edits)
    assert (await source.read()).listeners != before.listeners
