"""YAML and JSON files with the position of every value, so that each error can say where it is.

Knows nothing of policies or configuration. No value is ever silently dropped: duplicate keys, unknown fields and
documents that are too large are problems.
"""

from cilium_proxy.yaml.fields import Fields
from cilium_proxy.yaml.load import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse, read
from cilium_proxy.yaml.problem import Mark, Problem, Problems, ProblemsError
from cilium_proxy.yaml.tree import Mapping, Scalar, Sequence, Value, plain

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "Fields",
    "Mapping",
    "Mark",
    "Problem",
    "Problems",
    "ProblemsError",
    "Scalar",
    "Sequence",
    "Value",
    "parse",
    "plain",
    "read",
]
