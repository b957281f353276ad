"""Labels of endpoints and identities, in Cilium's form `source:key`."""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
CLUSTER = "io.cilium.k8s.policy.cluster"
SOURCES = ("k8s", "container", "reserved", "cidr", "unspec")


def split(key: str) -> tuple[str, str]:
    """Source and key of a label as written: `reserved:host` -> reserved, host; without a source it is `k8s`."""
    source, colon, rest = key.partition(":")
    return (source, rest) if colon else ("k8s", key)


def complete(labels: Mapping[str, str], namespace: str, namespaces: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """All labels of a workload: its own, and as Kubernetes and Cilium add them those of its namespace and cluster.

    Labels of source `reserved` mean a peer outside namespaces: nothing is added then.
    """
    own = {":".join(split(key)): value for key, value in labels.items()}
    if any(key.startswith("reserved:") for key in own):
        return own
    full = {f"k8s:{NAMESPACE}": namespace, f"k8s:{CLUSTER}": "default"}
    full[f"k8s:{NAMESPACE_LABELS}kubernetes.io/metadata.name"] = namespace
    for key, value in namespaces.get(namespace, {}).items():
        full[f"k8s:{NAMESPACE_LABELS}{key}"] = value
    return full | own
