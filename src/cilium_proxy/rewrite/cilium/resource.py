"""Rewrites one resource: finds every Cilium extension in it, at any depth, and replaces it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cilium_proxy.api import InvalidAnyError, pack, type_url, unpack
from cilium_proxy.rewrite import dynamic_module
from cilium_proxy.rewrite.cilium import balanced, contrib, health_check, listener, tls_upstream, tls_wrapper, websocket
from cilium_proxy.rewrite.cilium.errors import RewriteError
from cilium_proxy.rewrite.cilium.options import Options, Side

__all__ = ["RewriteError", "Rewritten", "rewrite"]

# Types that hold no extension: they pass unopened, whatever their size.
_OPAQUE = frozenset(
    type_url(name)
    for name in (
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        "envoy.service.runtime.v3.Runtime",
    )
)


@dataclass(frozen=True)
class Rewritten:
    """The resource for Envoy, and what its sender should know about the change.

    `side`: which of `Options.contexts` it depends on.
    """

    resource: Any
    warnings: tuple[str, ...] = ()
    side: Side | None = None


def rewrite(resource: Any, options: Options | None = None) -> Rewritten:
    """Returns the resource (an `Any`) with every Cilium extension in the form stock Envoy has for it.

    A resource without Cilium extensions is returned as it is, byte for byte. Types this Envoy does not know pass
    unopened; Envoy's own error names them.

    Raises RewriteError when the resource does not parse or a Cilium extension stands where none may.
    """
    if resource.type_url in _OPAQUE:
        return Rewritten(resource)
    walk = _Walk(options or Options())
    changed = walk.envelope(resource, path=())
    return Rewritten(changed or resource, tuple(walk.warnings), walk.side)


def rewrite_message(message: Any, options: Options | None = None) -> tuple[str, ...]:
    """Does the same to a message, in place; returns the warnings. Raises RewriteError."""
    walk = _Walk(options or Options())
    walk.message(message, path=())
    return tuple(walk.warnings)


class _Walk:
    """One pass over a resource; collects warnings on the way."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.warnings: list[str] = []
        self.side: Side | None = None

    def envelope(self, envelope: Any, path: tuple[str, ...], override: bool = False) -> Any | None:
        """What an `Any` becomes; None when it stays as it is. `override`: it is a route's, for a filter."""
        tls_wrapper.refuse(envelope.type_url, path)
        inner = self._parse(envelope, path)
        if dynamic_module.is_filter(envelope.type_url):
            carry = dynamic_module.carry_override if override else dynamic_module.carry_filter
            return carry(envelope)
        if inner is None or not self.message(inner, path, override):
            return None
        return pack(inner)

    def message(self, message: Any, path: tuple[str, ...], override: bool = False) -> bool:
        """Rewrites a message in place; tells whether anything changed."""
        changed = self._whole(message, path)
        for name, child in _children(message):
            changed |= self._child(child, (*path, name), override or name.startswith("typed_per_filter_config["))
        return changed

    def _whole(self, message: Any, path: tuple[str, ...]) -> bool:
        """What is about a message as a whole, before the extensions in it are replaced."""
        match message.DESCRIPTOR.full_name:
            case "envoy.config.listener.v3.Listener":
                changed = balanced.judge_hosts(message, path)
                self.side = tls_wrapper.split_chains(message, self.options.contexts, path)
                changed |= self.side is not None
                return listener.prepare(message, self.options.privileged_sockets, path) or changed
            case "envoy.config.listener.v3.FilterChain":
                early = websocket.take_early_data(message, path)
                return contrib.drop(message, path, self.warnings) or early
            case "envoy.config.cluster.v3.Cluster":
                changed = balanced.judge_in_cluster(message, path)
                wrapped = tls_upstream.guard_cluster(message, self.options.contexts, path)
                self.side = "upstream" if wrapped else None
                return wrapped or changed
            case "envoy.config.core.v3.HealthCheck":
                return health_check.replace_sinks(message, self.options.health_events, path, self.warnings)
            case "envoy.config.core.v3.ExtensionConfigSource":
                return _rename_types(message)
        return False

    def _child(self, child: Any, path: tuple[str, ...], override: bool) -> bool:
        if child.DESCRIPTOR.full_name != "google.protobuf.Any":
            return self.message(child, path, override)
        replacement = self.envelope(child, path, override)
        if replacement is None:
            return False
        child.CopyFrom(replacement)
        return True

    @staticmethod
    def _parse(envelope: Any, path: tuple[str, ...]) -> Any | None:
        try:
            return unpack(envelope)
        except InvalidAnyError as error:
            raise RewriteError(path, str(error)) from error


def _children(message: Any) -> Iterator[tuple[str, Any]]:
    """The messages directly inside, each with the name an operator would look for."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                yield from ((f"{field.name}[{key}]", child) for key, child in value.items())
        elif field.is_repeated:
            yield from ((f"{field.name}[{_label(child, index)}]", child) for index, child in enumerate(value))
        else:
            yield field.name, value


def _label(message: Any, index: int) -> str:
    field = message.DESCRIPTOR.fields_by_name.get("name")
    if field is None or field.message_type is not None or field.is_repeated:
        return str(index)
    return str(message.name or index)


def _rename_types(source: Any) -> bool:
    """Discovered extensions arrive rewritten, so the types a filter waits for are those of the rewritten ones."""
    renamed = [dynamic_module.extension_url(url) for url in source.type_urls]
    if renamed == list(source.type_urls):
        return False
    del source.type_urls[:]
    source.type_urls.extend(renamed)
    return True
