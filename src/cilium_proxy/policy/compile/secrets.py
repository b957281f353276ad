"""Values of secrets: from the files that proxy.yaml names, and from Kubernetes Secrets among the policies.

No value ever becomes part of a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cilium_proxy.config.model import CA, CERTIFICATE, KEY, TLS_ITEMS, SecretFile
from cilium_proxy.policy.compile.metadata import read_head
from cilium_proxy.policy.compile.rule import Secret
from cilium_proxy.yaml import Fields, Mark, Problem, Problems, Scalar, Value
from cilium_proxy.yaml import Mapping as YamlMapping

MAX_BYTES = 64 * 1024
"""Largest value: more does not fit into the headers of a request."""

MAX_TLS_BYTES = 1024 * 1024
"""Largest certificate chain, key or bundle of CAs."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values by `namespace/name`; `tls` are those that hold keys or certificates instead, by item.

    `warnings`: what is wrong with them, although it can be used.
    """

    values: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    tls: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    warnings: tuple[Problem, ...] = ()

    def has(self, secret: Secret) -> bool:
        """Whether there is what a policy needs."""
        if secret.use == "header":
            return secret.name in self.values
        return (CERTIFICATE if secret.use == "certificate" else CA) in self.tls.get(secret.name, ())


def is_secret(document: Value) -> bool:
    """Whether the document is a Kubernetes Secret."""
    kind = document.items.get("kind") if isinstance(document, YamlMapping) else None
    return isinstance(kind, Scalar) and kind.value == "Secret"


def read_secrets(files: Iterable[SecretFile], manifests: Iterable[Value], problems: Problems) -> Secrets:
    """Reads them all. One name twice is a problem."""
    values: dict[str, bytes] = {}
    tls: dict[str, dict[str, bytes]] = {}
    seen: dict[str, Mark] = {}
    items: dict[str, dict[str, _Item | None]] = {}
    for file in files:
        seen.setdefault(file.name, file.mark)
        items.setdefault(file.name, {})[file.item] = _from_file(file, problems)
    for document in manifests:
        name, found = _from_manifest(document, problems)
        if name in seen:
            message = f"secret `{name}` is also at {seen[name]}"
            problems.add(document.mark, "metadata.name", message, "keep one of them")
        elif name:
            seen[name], items[name] = document.mark, found
    warnings: list[Problem] = []
    for name, parts in items.items():
        read = {key: item for key, item in parts.items() if item is not None}
        if len(read) < len(parts):
            # What is wrong with it has been said.
            continue
        if any(key in TLS_ITEMS for key in read):
            tls[name] = {key: item.value for key, item in read.items() if key in TLS_ITEMS}
            _check_tls(name, read, problems, warnings)
        elif len(read) != 1:
            message = f"has {len(read)} items, and nothing says which is the value"
            problems.add(seen[name], "data", message, "give it exactly one item")
        else:
            (item,) = read.values()
            if _is_value(item, problems):
                values[name] = item.value
    return Secrets(values, tls, tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Item:
    """A part of a secret, and where it comes from. `shown` begins messages about it."""

    value: bytes = field(repr=False)
    mark: Mark
    path: str
    shown: str = ""


def _from_file(file: SecretFile, problems: Problems) -> _Item | None:
    """A file's content, values without the line end that editors leave behind it."""
    path = f"secrets.{file.name}" + (f".{file.item}" if file.item else "")
    limit = MAX_TLS_BYTES if file.item else MAX_BYTES
    try:
        with file.path.open("rb") as opened:
            value = opened.read(limit + 2)
    except OSError as error:
        message = f"{file.path} cannot be read: {error.strerror}"
        problems.add(file.mark, path, message, "check the path and its permissions")
        return None
    if not file.item:
        return _Item(value.removesuffix(b"\n").removesuffix(b"\r"), file.mark, path)
    if len(value) > limit:
        problems.add(file.mark, path, f"{file.path} is larger than {limit} bytes", "give only what the proxy needs")
        return None
    return _Item(value, file.mark, path, f"{file.path} ")


def _from_manifest(document: Value, problems: Problems) -> tuple[str, dict[str, _Item | None]]:
    """Name and items. As for Cilium, a value for headers is the only item of its secret."""
    fields = Fields(document, "", problems)
    head = read_head(fields, ("v1",), namespaced=True)
    items: dict[str, _Item | None] = {}
    for section, encoded in (("data", True), ("stringData", False)):
        for key, mark, value in fields.entries(section):
            items[key] = _item(value, mark, f"{section}.{key}", problems, encoded=encoded)
    fields.ignore("type", "immutable")
    fields.finish()
    return head.shown if head.name else "", items


def _item(value: Value, mark: Mark, path: str, problems: Problems, *, encoded: bool) -> _Item | None:
    if not isinstance(value, Scalar) or not isinstance(value.value, str):
        problems.add(mark, path, "must be a string", "quote it")
        return None
    if not encoded:
        return _Item(value.value.encode(), mark, path)
    try:
        return _Item(base64.b64decode("".join(value.value.split()), validate=True), mark, path)
    except (binascii.Error, ValueError):
        problems.add(mark, path, "is not base64", "encode it with `base64 -w0` or move it to stringData")
        return None


def _is_value(item: _Item, problems: Problems) -> bool:
    """Whether a header can have it."""
    if not item.value:
        problems.add(item.mark, item.path, "is empty", "write the value into it")
    elif len(item.value) > MAX_BYTES:
        problems.add(item.mark, item.path, f"is larger than {MAX_BYTES} bytes", "no header can have that value")
    elif any(byte in item.value for byte in b"\0\r\n"):
        message = "has several lines or NUL"
        problems.add(item.mark, item.path, message, "write the value on one line; no header can have more")
    else:
        return True
    return False


def _check_tls(name: str, parts: Mapping[str, _Item], problems: Problems, warnings: list[Problem]) -> None:
    """Reports what TLS could not use."""
    # A library that only TLS needs.
    from cilium_proxy.policy.compile import certificates

    chain, key = parts.get(CERTIFICATE), parts.get(KEY)
    for one, other in ((CERTIFICATE, KEY), (KEY, CERTIFICATE)):
        if one in parts and other not in parts:
            item = parts[one]
            problems.add(item.mark, item.path, f"secret `{name}` has no {other}", f"add it, or remove {one}")
    certificate = None
    if chain is not None:
        certificate = _checked(chain, certificates.check_chain, problems)
    if certificate is not None and key is not None:
        _checked(key, lambda pem: certificates.check_key(pem, certificate), problems)
    if certificate is not None and chain is not None:
        wrong = certificates.expiry(certificate)
        if wrong is not None:
            warnings.append(Problem(chain.mark, chain.path, f"{chain.shown}{wrong}", "renew it; clients refuse it"))
    if CA in parts:
        _checked(parts[CA], certificates.check_authorities, problems)


def _checked(item: _Item, check: Callable[[bytes], _T], problems: Problems) -> _T | None:
    from cilium_proxy.policy.compile.certificates import CertificateError

    try:
        return check(item.value)
    except CertificateError as error:
        problems.add(item.mark, item.path, f"{item.shown}{error}", error.fix)
        return None
