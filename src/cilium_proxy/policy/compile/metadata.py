"""The head of a Kubernetes object: apiVersion, kind, metadata."""

from __future__ import annotations

from dataclasses import dataclass

from cilium_proxy.yaml import Fields


@dataclass(frozen=True, slots=True)
class Head:
    """`namespace` is empty for clusterwide objects."""

    name: str
    namespace: str

    @property
    def shown(self) -> str:
        """`namespace/name`, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def read_head(fields: Fields, api_versions: tuple[str, ...], *, namespaced: bool) -> Head:
    """Reads name and namespace, and lets pass what a cluster adds to objects: status and other metadata."""
    fields.ignore("kind", "status")
    fields.string("apiVersion", required=True, choices=api_versions)
    metadata = fields.fields("metadata", required=True)
    if metadata is None:
        return Head("", "default" if namespaced else "")
    name = metadata.string("name", required=True) or ""
    namespace = metadata.string("namespace")
    if namespace and not namespaced:
        metadata.problem("namespace", "clusterwide policies have no namespace", "remove it or use CiliumNetworkPolicy")
    metadata.ignore(
        *(
            "annotations",
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
        ),
        *("generation", "labels", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"),
    )
    metadata.finish()
    return Head(name, (namespace or "default") if namespaced else "")
