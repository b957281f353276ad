"""Protobuf messages of Envoy's API and of ours, from a private descriptor pool.

`messages("cilium.NetworkPolicy")` gives the class. No policy, no I/O but reading the descriptor set.
"""

from cilium_proxy.api.any import InvalidAnyError, pack, serialise, type_url, unpack
from cilium_proxy.api.descriptors import DescriptorSetMissingError, UnknownMessageError, messages, pool
from cilium_proxy.api.json import InvalidMessageError, from_dict, to_dict

__all__ = [
    "DescriptorSetMissingError",
    "InvalidAnyError",
    "InvalidMessageError",
    "UnknownMessageError",
    "from_dict",
    "messages",
    "pack",
    "pool",
    "serialise",
    "to_dict",
    "type_url",
    "unpack",
]
