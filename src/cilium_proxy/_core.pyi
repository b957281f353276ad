"""The native side of `cilium_proxy.policy` (crates/python)."""

def descriptors() -> bytes:
    """Serialised `FileDescriptorSet` of the protobuf files of this project, without the Envoy files they import."""
