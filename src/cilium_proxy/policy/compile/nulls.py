"""Fields without a value.

For Kubernetes `fromEndpoints:` with nothing behind it is the same as no `fromEndpoints`: anyone. Hardly anyone who
writes it means that.
"""

from __future__ import annotations

from cilium_proxy.yaml import Mapping, Problems, Scalar, Sequence, Value


def report_nulls(document: Value, problems: Problems) -> None:
    """Reports every field without a value in the specs of a policy."""
    if isinstance(document, Mapping):
        for name in ("spec", "specs"):
            if name in document.items:
                _report(document.items[name], name, problems)


def _report(value: Value, path: str, problems: Problems) -> None:
    if isinstance(value, Scalar) and value.value is None:
        problems.add(value.mark, path, "has no value", "give it one or remove it")
    elif isinstance(value, Mapping):
        for name, item in value.items.items():
            _report(item, f"{path}.{name}", problems)
    elif isinstance(value, Sequence):
        for index, item in enumerate(value.items):
            _report(item, f"{path}[{index}]", problems)
