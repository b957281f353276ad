"""The gRPC services of xDS."""

from __future__ import annotations

from typing import Literal

from cilium_proxy.api.any import type_url

AGGREGATED = ("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources")
"""The service that carries every type, and what its methods are called after "Stream" and "Delta"."""

SERVICES = {
    type_url(message): (service, resources)
    for message, service, resources in (
        ("cilium.NetworkPolicy", "cilium.NetworkPolicyDiscoveryService", "NetworkPolicies"),
        ("cilium.NetworkPolicyHosts", "cilium.NetworkPolicyHostsDiscoveryService", "NetworkPolicyHosts"),
        ("envoy.config.cluster.v3.Cluster", "envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters"),
        (
            "envoy.config.endpoint.v3.ClusterLoadAssignment",
            "envoy.service.endpoint.v3.EndpointDiscoveryService",
            "Endpoints",
        ),
        ("envoy.config.listener.v3.Listener", "envoy.service.listener.v3.ListenerDiscoveryService", "Listeners"),
        ("envoy.config.route.v3.RouteConfiguration", "envoy.service.route.v3.RouteDiscoveryService", "Routes"),
        (
            "envoy.config.route.v3.ScopedRouteConfiguration",
            "envoy.service.route.v3.ScopedRoutesDiscoveryService",
            "ScopedRoutes",
        ),
        (
            "envoy.config.route.v3.VirtualHost",
            "envoy.service.route.v3.VirtualHostDiscoveryService",
            "VirtualHosts",
        ),
        (
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            "envoy.service.secret.v3.SecretDiscoveryService",
            "Secrets",
        ),
        (
            "envoy.config.core.v3.TypedExtensionConfig",
            "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
            "ExtensionConfigs",
        ),
        ("envoy.service.runtime.v3.Runtime", "envoy.service.runtime.v3.RuntimeDiscoveryService", "Runtime"),
    )
}
"""Type URL -> the service for that type alone, and what its methods are called after "Stream" and "Delta"."""


def method(url: str | None, kind: Literal["Stream", "Delta"]) -> str:
    """Path of the method for a type, or with None for all. KeyError for a type that has no service of its own."""
    service, resources = AGGREGATED if url is None else SERVICES[url]
    return f"/{service}/{kind}{resources}"
