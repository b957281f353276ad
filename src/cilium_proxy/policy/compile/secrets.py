"""Values of secrets: from the files that proxy.yaml names, and from Kubernetes Secrets among the policies.

No value ever becomes part of a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cilium_proxy.config.model import SecretFile
from cilium_proxy.policy.compile.metadata import read_head
from cilium_proxy.yaml import Fields, Mark, Problems, Scalar, Value
from cilium_proxy.yaml import Mapping as YamlMapping

MAX_BYTES = 64 * 1024
"""Largest value: more does not fit into the headers of a request."""

_TLS = ("tls.crt", "tls.key", "ca.crt")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values by `namespace/name`. `tls` are the names of those that hold keys or certificates instead."""

    values: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    tls: frozenset[str] = frozenset()


def is_secret(document: Value) -> bool:
    """Whether the document is a Kubernetes Secret."""
    kind = document.items.get("kind") if isinstance(document, YamlMapping) else None
    return isinstance(kind, Scalar) and kind.value == "Secret"


def read_secrets(files: Iterable[SecretFile], manifests: Iterable[Value], problems: Problems) -> Secrets:
    """Reads them all. One name twice is a problem."""
    values: dict[str, bytes] = {}
    tls: set[str] = set()
    seen: dict[str, Mark] = {}

    def take(name: str, value: bytes | None, mark: Mark, path: str) -> None:
        if name in seen:
            problems.add(mark, path, f"secret `{name}` is also at {seen[name]}", "keep one of them")
        seen.setdefault(name, mark)
        if value is None:
            tls.add(name)
        else:
            values[name] = value

    for file in files:
        value = _from_file(file, problems)
        if value is not None:
            take(file.name, value, file.mark, f"secrets.{file.name}")
    for document in manifests:
        for name, value in _from_manifest(document, problems):
            take(name, value, document.mark, "metadata.name")
    return Secrets(values, frozenset(tls))


def _from_file(file: SecretFile, problems: Problems) -> bytes | None:
    """The file's content without the line end that editors leave behind it."""
    path = f"secrets.{file.name}"
    try:
        with file.path.open("rb") as opened:
            value = opened.read(MAX_BYTES + 2)
    except OSError as error:
        message = f"{file.path} cannot be read: {error.strerror}"
        problems.add(file.mark, path, message, "check the path and its permissions")
        return None
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    return value if _is_valid(value, problems, file.mark, path) else None


def _from_manifest(document: Value, problems: Problems) -> Iterator[tuple[str, bytes | None]]:
    """Name and value; None for keys and certificates. As for Cilium, the value is the only item of the secret."""
    fields = Fields(document, "", problems)
    head = read_head(fields, ("v1",), namespaced=True)
    items: dict[str, bytes | None] = {}
    for section, encoded in (("data", True), ("stringData", False)):
        for key, mark, value in fields.entries(section):
            items[key] = _item(value, mark, f"{section}.{key}", problems, encoded=encoded)
    fields.ignore("type", "immutable")
    fields.finish()
    if not head.name:
        return
    if any(key in items for key in _TLS):
        yield head.shown, None
    elif len(items) != 1:
        message = f"has {len(items)} items, and nothing says which is the value"
        problems.add(fields.mark, "data", message, "give it exactly one item")
    else:
        (item,) = items.values()
        if item is not None and _is_valid(item, problems, fields.mark, "data"):
            yield head.shown, item


def _item(value: Value, mark: Mark, path: str, problems: Problems, *, encoded: bool) -> bytes | None:
    if not isinstance(value, Scalar) or not isinstance(value.value, str):
        problems.add(mark, path, "must be a string", "quote it")
        return None
    if not encoded:
        return value.value.encode()
    try:
        return base64.b64decode("".join(value.value.split()), validate=True)
    except (binascii.Error, ValueError):
        problems.add(mark, path, "is not base64", "encode it with `base64 -w0` or move it to stringData")
        return None


def _is_valid(value: bytes, problems: Problems, mark: Mark, path: str) -> bool:
    if not value:
        problems.add(mark, path, "is empty", "write the value into it")
    elif len(value) > MAX_BYTES:
        problems.add(mark, path, f"is larger than {MAX_BYTES} bytes", "no header can have that value")
    elif any(byte in value for byte in b"\0\r\n"):
        problems.add(mark, path, "has several lines or NUL", "write the value on one line; no header can have more")
    else:
        return True
    return False
