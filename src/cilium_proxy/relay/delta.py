"""One incremental xDS stream: every response holds what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cilium_proxy.api import messages
from cilium_proxy.relay.resources import WILDCARDS
from cilium_proxy.relay.stream import EnvoyStream, Watch


@dataclass(slots=True, kw_only=True)
class _Watch(Watch):
    wildcard: bool
    names: set[str] = field(default_factory=set)
    # Version of each resource the client has; "" for one it was told does not exist.
    client: dict[str, str] = field(default_factory=dict)
    # Responses not yet answered: nonce to sequence number.
    unanswered: dict[str, int] = field(default_factory=dict)
    sequence: int = 0


class DeltaStream(EnvoyStream[_Watch]):
    """Every response holds what changed."""

    def _request(self, url: str, request: Any) -> None:
        watch = self._watches.get(url)
        subscribe, unsubscribe = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if watch is None:
            wildcard = "*" in subscribe or (not subscribe and url in WILDCARDS)
            watch = _Watch(subscription=self._subscribe(url), wildcard=wildcard)
            watch.client.update(request.initial_resource_versions)
            self._watches[url] = watch
        elif request.response_nonce:
            sequence = watch.unanswered.pop(request.response_nonce, None)
            if sequence is not None and request.HasField("error_detail"):
                self.cache.refuse(watch.subscription, sequence, request.error_detail.message)
            elif sequence is not None:
                watch.subscription.holds = any(version not in ("", "?") for version in watch.client.values())
                self.cache.acknowledge(watch.subscription, sequence)
        if "*" in subscribe | unsubscribe:
            watch.wildcard = "*" in subscribe
        before = watch.names if watch.sequence else None
        watch.names = (watch.names | subscribe) - unsubscribe - {"*"}
        if watch.names != before:
            everything = {"*"} if watch.wildcard and url not in WILDCARDS else set()
            self.cache.want(watch.subscription, frozenset(watch.names | everything))
        for name in subscribe:
            # A name subscribed anew is answered even when nothing changed.
            watch.client.setdefault(name, "?")
            if name not in request.initial_resource_versions:
                watch.client[name] = "?"
        for name in unsubscribe:
            watch.client.pop(name, None)
        if subscribe or unsubscribe or watch.sequence == 0:
            self._make_due(watch)

    def _response(self, watch: _Watch) -> Any | None:
        current = self.cache.current(watch.subscription.type_url)
        if not watch.due or current is None:
            return None
        watch.due = False
        first = watch.sequence == 0
        watch.sequence = current.sequence
        url = watch.subscription.type_url
        response = messages("envoy.service.discovery.v3.DeltaDiscoveryResponse")(
            type_url=url, system_version_info=current.version
        )
        wanted = current.resources if watch.wildcard else watch.names & current.resources.keys()
        for name in wanted:
            version = self.cache.resource_version(url, name)
            if watch.client.get(name) != version:
                watch.client[name] = version
                resource = response.resources.add(name=name, version=version)
                resource.resource.type_url, resource.resource.value = url, current.resources[name]
        for name in [name for name, known in watch.client.items() if known and name not in wanted]:
            response.removed_resources.append(name)
            if name in watch.names:
                watch.client[name] = ""
            else:
                del watch.client[name]
        if not first and not response.resources and not response.removed_resources:
            self._settle(watch)
            return None
        response.nonce = self._next_nonce()
        watch.unanswered[response.nonce] = current.sequence
        return response

    def _settle(self, watch: _Watch) -> None:
        """Nothing the client has has changed: its answer, given or due, is one to the set as it is now, too."""
        subscription = watch.subscription
        if watch.unanswered:
            watch.unanswered[next(reversed(watch.unanswered))] = watch.sequence
        elif subscription.refused > subscription.taken:
            self.cache.refuse(subscription, watch.sequence, subscription.error)
        else:
            self.cache.acknowledge(subscription, watch.sequence)
