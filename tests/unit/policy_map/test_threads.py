from __future__ import annotations

import threading
import time

from cilium_proxy import api
from cilium_proxy.policy import PolicyMap

from .policies import ask, policy


def test_questions_during_updates_see_one_state_or_the_other() -> None:
    """Remote 1 and remote 2 change places with every update: exactly one of them is allowed at any moment."""
    policies = PolicyMap()
    policies.update([policy({"remote_policies": [1]})], version="0")
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            snapshot = policies.snapshot()
            first, second = snapshot.network(**ask(remote=1)).allowed, snapshot.network(**ask(remote=2)).allowed
            if first == second or first != (int(snapshot.version) % 2 == 0):
                wrong.append((snapshot.version, first, second))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(1, 300):
        policies.update([policy({"remote_policies": [1 + version % 2]})], version=str(version))
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_writers_wait_for_each_other() -> None:
    policies = PolicyMap()

    def write(number: int) -> None:
        for _ in range(20):
            resource = policy(endpoint=f"10.0.0.{number}", endpoint_id=number)
            policies.update([resource], version=str(number), delta=True)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(policies.endpoints()) == 8
    assert policies.statistics()["cilium.policy.update_success"] == 160


def test_other_threads_run_during_an_update() -> None:
    """A thread counts while a large update is applied; without the GIL released it would stand still."""
    policies = PolicyMap()
    rule = {
        "remote_policies": list(range(1, 2000)),
        "http_rules": {
            "http_rules": [{"headers": [{"name": ":path", "safe_regex_match": {"regex": "/a[0-9]{1,50}.*(b|c)+"}}]}]
        },
    }
    large = []
    for number in range(1, 400):
        resource = policy(
            {**rule, "name": f"r{number}"}, endpoint=f"10.1.{number // 256}.{number % 256}", endpoint_id=number
        )
        large.append(api.from_dict("cilium.NetworkPolicy", resource).SerializeToString())
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.001):
            ticks.append(time.monotonic())

    ticker = threading.Thread(target=tick)
    ticker.start()
    started = time.monotonic()
    policies._core.update([(None, one) for one in large], [], "1", False, False)
    ended = time.monotonic()
    stop.set()
    ticker.join()
    assert any(started < moment < ended for moment in ticks)
