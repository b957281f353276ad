"""Policies of endpoints, updated as a whole or by differences, and verdicts on them."""

from __future__ import annotations

from collections.abc import Iterable

from cilium_proxy import _core
from cilium_proxy.policy.errors import PolicyRejected
from cilium_proxy.policy.resources import Resources, serialise_all
from cilium_proxy.policy.snapshot import Questions, Snapshot


class PolicyMap(Questions):
    """Network policies by endpoint address, empty at first; an endpoint without a policy may do nothing.

    The same engine as in the proxy, so a verdict here is the verdict there. Thread-safe: updates are applied one after
    the other without the GIL, and questions asked meanwhile get the policies of before or of after, whole.

        policies = PolicyMap()
        policies.update(resources, version="1")
        verdict = policies.http(
            endpoint="10.1.2.3", direction="ingress", remote=43, port=80, headers=[(":method", "GET"), (":path", "/")]
        )
    """

    def __init__(self) -> None:
        self._core = _core.PolicyMap()

    def _snapshot(self) -> _core.Snapshot:
        return self._core.snapshot()

    def snapshot(self) -> Snapshot:
        """The policies of now, unaffected by later updates."""
        return Snapshot(self._core.snapshot())

    def update(
        self,
        resources: Resources = (),
        *,
        version: str,
        removed: Iterable[str] = (),
        delta: bool = False,
        new_stream: bool = False,
    ) -> None:
        """Applies an update whole, or raises PolicyRejected and changes nothing.

        Args:
            resources: policies (`cilium.NetworkPolicy`): dictionaries in protobuf's JSON form with snake_case or
                camelCase names, messages, or serialised messages. A policy is named after its endpoint_id unless it
                comes with a name: from a mapping of names, or as `{"name": ..., "resource": ...}`.
            version: any text; in messages and in `version`.
            removed: names of policies to remove. For differences only; unknown names are ignored.
            delta: the resources are added to those in force or replace them by name. Otherwise they are the full state.
            new_stream: first update after the sender reconnected: once it, or one after it, is accepted, nothing from
                before is kept.
        """
        names = list(removed)
        if names and not delta:
            raise PolicyRejected("removed names policies to remove, but the update is the full state: pass delta=True")
        self._core.update(list(serialise_all(resources)), names, version, delta, new_stream)

    def set_secret(self, name: str, value: bytes | str | None) -> None:
        """Delivers the value of an SDS secret, or withdraws it (None). Counts at once, also in older snapshots.

        The value is that of `value_sds_secret` of `header_matches`; text is delivered as UTF-8.
        """
        self._core.set_secret(name, value.encode() if isinstance(value, str) else value)

    def secrets(self) -> list[str]:
        """Names of the secrets that the policies in force refer to, sorted."""
        return self._core.secret_names()

    def statistics(self) -> dict[str, int]:
        """Counters of updates, by the names the proxy has for them."""
        total, accepted = self._core.counts()
        return {
            "cilium.policy.updates_total": total,
            "cilium.policy.update_success": accepted,
            "cilium.policy.updates_rejected": total - accepted,
        }
