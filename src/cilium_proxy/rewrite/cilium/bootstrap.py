"""The bootstrap that Cilium's agent or chart wrote: what is in it, and what Envoy is given in its place."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from cilium_proxy.api import InvalidMessageError, from_dict, messages, pack, serialise, unpack
from cilium_proxy.rewrite import dynamic_module, python_parsers
from cilium_proxy.rewrite.cilium.options import Options
from cilium_proxy.rewrite.cilium.resource import rewrite_message
from cilium_proxy.rewrite.cilium.tls_wrapper import is_wrapped_cluster
from cilium_proxy.rewrite.instance import name_instance
from cilium_proxy.rewrite.reconnect import reconnect_soon

AGENT_CLUSTER = "xds-grpc-cilium"
"""The cluster by which bootstrap and resources name the agent's xDS server."""

Transport = Literal["split", "delta", "ads", "delta-ads"]
"""How xDS is spoken: a stream per type or one for all, the state of the world or what changed."""

_UNLIMITED = 1_000_000
_BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
_DELTA = ("DELTA_GRPC", "AGGREGATED_DELTA_GRPC")


class BootstrapError(ValueError):
    """The bootstrap cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class AgentBootstrap:
    """A parsed bootstrap of an agent."""

    message: Any

    @property
    def agent_socket(self) -> Path:
        """The agent's xDS socket. Raises BootstrapError."""
        return Path(self._agent_pipe().path)

    @property
    def node(self) -> Any:
        """Envoy's node, as the agent wants to see it."""
        return self.message.node

    @property
    def transport(self) -> Transport:
        """How the bootstrap has Envoy speak to the agent."""
        dynamic = self.message.dynamic_resources
        if dynamic.HasField("ads_config"):
            return "delta-ads" if _is_delta(dynamic.ads_config) else "ads"
        sources = [dynamic.lds_config.api_config_source, dynamic.cds_config.api_config_source]
        return "delta" if any(_is_delta(source) for source in sources) else "split"

    @property
    def admin(self) -> Path | tuple[str, int] | None:
        """Where the admin interface listens."""
        address = self.message.admin.address
        match address.WhichOneof("address"):
            case "pipe":
                return Path(address.pipe.path)
            case "socket_address":
                return address.socket_address.address, address.socket_address.port_value
        return None

    @property
    def policy_clusters(self) -> dict[str, bytes]:
        """The clusters whose sockets policy chooses, serialised as the agent wrote them.

        Envoy discovers them from us, since static ones could not change with the policies.
        """
        if not self.message.dynamic_resources.HasField("cds_config"):
            return {}
        clusters = self.message.static_resources.clusters
        return {cluster.name: serialise(cluster) for cluster in clusters if is_wrapped_cluster(cluster)}

    def for_envoy(self, xds_socket: Path, module: Any, options: Options) -> tuple[Any, tuple[str, ...]]:
        """The bootstrap Envoy starts with, and warnings.

        The agent's cluster leads to `xds_socket`, Cilium's extensions are stock ones, `policy_clusters` are left out,
        and the module is configured by `module`, a `cilium_proxy.v1.ModuleBootstrap`, whose instance is in the node,
        too. Streams to `xds_socket` are opened again soon. Everything else is as it was.

        Raises BootstrapError, RewriteError.
        """
        rewritten = AgentBootstrap(messages(_BOOTSTRAP)())
        rewritten.message.CopyFrom(self.message)
        rewritten._leave_out(self.policy_clusters)
        warnings = rewrite_message(rewritten.message, options)
        rewritten._agent_pipe().path = str(xds_socket)
        rewritten._lift_limits()
        python_parsers.configure(rewritten.message, module, options.python_parsers)
        _configure_module(rewritten.message, module)
        name_instance(rewritten.message.node, module.instance)
        for source in rewritten._agent_sources():
            reconnect_soon(source)
        return rewritten.message, warnings

    def _agent_sources(self) -> list[Any]:
        """Where listeners and clusters come from, as far as that is the agent's cluster."""
        dynamic = self.message.dynamic_resources
        sources = [dynamic.ads_config, dynamic.lds_config.api_config_source, dynamic.cds_config.api_config_source]
        return [
            source
            for source in sources
            if any(service.envoy_grpc.cluster_name == AGENT_CLUSTER for service in source.grpc_services)
        ]

    def _leave_out(self, names: Collection[str]) -> None:
        clusters = self.message.static_resources.clusters
        for cluster in [cluster for cluster in clusters if cluster.name in names]:
            clusters.remove(cluster)

    def _lift_limits(self) -> None:
        """Envoy has a stream for every secret; more than 1,024 at a time would need leave."""
        cluster = self._agent_cluster()
        if not cluster.circuit_breakers.thresholds:
            cluster.circuit_breakers.thresholds.add(
                max_requests={"value": _UNLIMITED}, max_pending_requests={"value": _UNLIMITED}
            )

    def _agent_pipe(self) -> Any:
        for locality in self._agent_cluster().load_assignment.endpoints:
            for endpoint in locality.lb_endpoints:
                if endpoint.endpoint.address.HasField("pipe"):
                    return endpoint.endpoint.address.pipe
        raise BootstrapError(f"cluster {AGENT_CLUSTER} of the bootstrap has no Unix socket as endpoint")

    def _agent_cluster(self) -> Any:
        for cluster in self.message.static_resources.clusters:
            if cluster.name == AGENT_CLUSTER:
                return cluster
        raise BootstrapError(f"the bootstrap has no static cluster {AGENT_CLUSTER}: it is not one for Cilium's Envoy")


def read_bootstrap(text: str) -> AgentBootstrap:
    """Parses a bootstrap in JSON or YAML. Raises BootstrapError."""
    try:
        # JSON is YAML, too, but a slower one, and with other escapes.
        fields = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise BootstrapError(f"neither JSON nor YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict):
        raise BootstrapError("holds no fields")
    try:
        return AgentBootstrap(from_dict(_BOOTSTRAP, fields))
    except InvalidMessageError as error:
        raise BootstrapError(str(error)) from error


def secret_source(cluster: str = AGENT_CLUSTER) -> Any:
    """The `ConfigSource` of secrets that policies name: a stream for each, so that a refusal is that of one secret.

    `cluster`: that of the xDS server.
    """
    source = from_dict(
        "envoy.config.core.v3.ConfigSource",
        {
            "resource_api_version": "V3",
            "initial_fetch_timeout": "5s",
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": cluster}}],
            },
        },
    )
    reconnect_soon(source.api_config_source)
    return source


def _is_delta(source: Any) -> bool:
    kind = type(source)
    return source.api_type in {kind.ApiType.Value(name) for name in _DELTA}


def _configure_module(message: Any, config: Any) -> None:
    """Adds the module's extension; one that the agent configured itself keeps all but what is ours to say."""
    for extension in message.bootstrap_extensions:
        if dynamic_module.is_module_bootstrap(extension.typed_config):
            inner: Any = unpack(extension.typed_config)
            ours: Any = unpack(dynamic_module.module_bootstrap(config))
            inner.extension_name, inner.dynamic_module_config.do_not_close = ours.extension_name, True
            inner.extension_config.CopyFrom(ours.extension_config)
            extension.typed_config.CopyFrom(pack(inner))
            return
    extension = message.bootstrap_extensions.add(name=dynamic_module.BOOTSTRAP_EXTENSION)
    extension.typed_config.CopyFrom(dynamic_module.module_bootstrap(config))
