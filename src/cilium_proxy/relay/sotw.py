"""One state-of-the-world xDS stream: every response holds the whole set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cilium_proxy.api import messages
from cilium_proxy.relay.resources import WILDCARDS
from cilium_proxy.relay.stream import EnvoyStream, Watch


@dataclass(slots=True, kw_only=True)
class _Watch(Watch):
    names: frozenset[str]
    wildcard: bool
    # What was sent last: nonce, the set's sequence number, the resources.
    nonce: str = ""
    sequence: int = 0
    sent: Mapping[str, bytes] | None = None


class SotwStream(EnvoyStream[_Watch]):
    """Every response holds the whole set."""

    def _request(self, url: str, request: Any) -> None:
        watch = self._watches.get(url)
        names = frozenset(request.resource_names)
        if watch is None:
            watch = _Watch(subscription=self._subscribe(url), names=names, wildcard=_is_wildcard(url, names))
            self._watches[url] = watch
            self.cache.want(watch.subscription, names)
            self._wake.set()
            return
        if request.response_nonce and request.response_nonce != watch.nonce:
            # An answer to a response that another has replaced meanwhile.
            return
        if request.response_nonce:
            if request.HasField("error_detail"):
                self.cache.refuse(watch.subscription, watch.sequence, request.error_detail.message)
            else:
                watch.subscription.holds = bool(watch.sent)
                self.cache.acknowledge(watch.subscription, watch.sequence)
        if names != watch.names:
            watch.names, watch.wildcard = names, _is_wildcard(url, names)
            self.cache.want(watch.subscription, names)
            # Newly named resources are expected even when they are unchanged.
            watch.sent = None
            self._make_due(watch)

    def _response(self, watch: _Watch) -> Any | None:
        current = self.cache.current(watch.subscription.type_url)
        if not watch.due or current is None:
            return None
        watch.due = False
        if watch.wildcard:
            resources = current.resources
        else:
            resources = {name: current.resources[name] for name in sorted(watch.names) if name in current.resources}
            if resources == (watch.sent or {}):
                # Nothing this stream asked for has changed: its answer, given or due, is one to this set, too.
                before, watch.sequence = watch.sequence, current.sequence
                subscription = watch.subscription
                if before == subscription.taken:
                    self.cache.acknowledge(subscription, current.sequence)
                elif before == subscription.refused:
                    self.cache.refuse(subscription, current.sequence, subscription.error)
                return None
        watch.nonce, watch.sequence, watch.sent = self._next_nonce(), current.sequence, resources
        url = watch.subscription.type_url
        response = messages("envoy.service.discovery.v3.DiscoveryResponse")(
            type_url=url, version_info=current.version, nonce=watch.nonce
        )
        for value in resources.values():
            response.resources.add(type_url=url, value=value)
        return response


def _is_wildcard(url: str, names: frozenset[str]) -> bool:
    return (url in WILDCARDS and not names) or "*" in names
