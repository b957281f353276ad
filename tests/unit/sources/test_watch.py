import asyncio

import pytest

from cilium_proxy.sources.watch import Watched, changes


@pytest.fixture
async def noticed(proxy):
    """Waits for an edit in the background; the result is a task that ends when one is noticed."""
    tasks = []

    async def start():
        watched = Watched.of(proxy / "proxy.yaml", [str(proxy / "policies")])
        task = asyncio.create_task(changes(watched, asyncio.Event()))
        tasks.append(task)
        await asyncio.sleep(0.2)
        assert not task.done()
        return task

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def in_place(proxy):
    with (proxy / "proxy.yaml").open("a") as file:
        file.write("\n")


def renamed_over(proxy):
    (proxy / "policies/.new").write_text("changed")
    (proxy / "policies/.new").rename(proxy / "policies/rule.yaml")


def added(proxy):
    (proxy / "policies/second.yaml").write_text("")


def added_in_new_directory(proxy):
    (proxy / "policies/team").mkdir()
    (proxy / "policies/team/rule.yaml").write_text("")


def removed(proxy):
    (proxy / "policies/rule.yaml").unlink()


@pytest.mark.parametrize("edit", [in_place, renamed_over, added, added_in_new_directory, removed])
async def test_an_edit_is_noticed(proxy, noticed, edit):
    task = await noticed()
    edit(proxy)
    async with asyncio.timeout(30):
        await task


async def test_the_symlink_swap_of_a_config_map_is_noticed(proxy, noticed):
    policies = proxy / "policies"
    (policies / "rule.yaml").unlink()
    for number in (1, 2):
        (policies / f"..{number}").mkdir()
        (policies / f"..{number}/rule.yaml").write_text(f"# {number}")
    (policies / "..data").symlink_to("..1")
    (policies / "rule.yaml").symlink_to("..data/rule.yaml")
    task = await noticed()
    (policies / "..data_tmp").symlink_to("..2")
    (policies / "..data_tmp").rename(policies / "..data")
    async with asyncio.timeout(30):
        await task


async def test_an_edit_of_what_a_symlink_leads_to_is_noticed(proxy, noticed, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "proxy.yaml"
    (proxy / "proxy.yaml").rename(elsewhere)
    (proxy / "proxy.yaml").symlink_to(elsewhere)
    task = await noticed()
    with elsewhere.open("a") as file:
        file.write("\n")
    async with asyncio.timeout(30):
        await task


async def test_other_files_beside_are_ignored(proxy, noticed):
    task = await noticed()
    (proxy / "access.log").write_text("a line")
    (proxy / "policies/.rule.yaml.swp").write_text("editor")
    await asyncio.sleep(0.8)
    assert not task.done()


async def test_an_edit_before_the_watch_began_is_noticed(proxy):
    watched = Watched.of(proxy / "proxy.yaml")
    in_place(proxy)
    async with asyncio.timeout(30):
        await changes(watched, asyncio.Event())


async def test_a_file_that_is_missing_at_first_is_noticed(proxy):
    (proxy / "proxy.yaml").unlink()
    watched = Watched.of(proxy / "proxy.yaml")
    task = asyncio.create_task(changes(watched, asyncio.Event()))
    await asyncio.sleep(0.2)
    assert not task.done()
    (proxy / "proxy.yaml").write_text("")
    async with asyncio.timeout(30):
        await task


async def test_enough_ends_the_wait(proxy):
    enough = asyncio.Event()
    task = asyncio.create_task(changes(Watched.of(proxy / "proxy.yaml"), enough))
    await asyncio.sleep(0.1)
    enough.set()
    async with asyncio.timeout(30):
        await task


async def test_without_inotify_edits_are_still_noticed(proxy, monkeypatch):
    async def fails(*_, **__):
        raise OSError("no watches left")
        yield

    monkeypatch.setattr("cilium_proxy.sources.watch.awatch", fails)
    watched = Watched.of(proxy / "proxy.yaml")
    task = asyncio.create_task(changes(watched, asyncio.Event()))
    await asyncio.sleep(0.1)
    assert not task.done()
    in_place(proxy)
    async with asyncio.timeout(30):
        await task
