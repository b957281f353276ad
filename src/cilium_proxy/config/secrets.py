"""Files with secrets, as proxy.yaml names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cilium_proxy.config.model import TLS_ITEMS, SecretFile
from cilium_proxy.yaml import Fields, Mapping, Mark, Scalar, Value

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def read_secret_files(root: Fields, base: Path) -> tuple[SecretFile, ...]:
    """`secrets`: `name: file` or `namespace/name: file`; for TLS a mapping of items to files in the file's place."""
    found: dict[str, Mark] = {}
    files: list[SecretFile] = []
    for key, mark, value in root.entries("secrets"):
        path = f"secrets.{key}"
        name = key if "/" in key else f"default/{key}"
        if not _NAME.fullmatch(name):
            root.problems.add(mark, path, f"`{key}` is not a name", "write `name` or `namespace/name`")
        elif name in found:
            message = f"`{name}` is also on line {found[name].line}"
            root.problems.add(mark, path, message, "keep one; names without a namespace are in `default`")
        else:
            found[name] = mark
            files.extend(_files(root, path, name, value, base))
    return tuple(files)


def _files(root: Fields, path: str, name: str, value: Value, base: Path) -> Iterator[SecretFile]:
    if not isinstance(value, Mapping):
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            # What stands there may be the secret itself: it is not shown.
            message = "must be the path of a file that holds the value"
            fix = f"write the path, or for TLS the paths of {', '.join(TLS_ITEMS)}"
            root.problems.add(value.mark, path, message, fix)
        else:
            yield SecretFile(name=name, path=base / value.value, mark=value.mark)
        return
    fields = Fields(value, path, root.problems)
    for item in TLS_ITEMS:
        place = fields.string(item)
        if place is not None and "\n" in place:
            fields.problem(item, "must be the path of a file, not its content", "write it to a file")
        elif place is not None:
            yield SecretFile(name=name, path=base / place, mark=fields.where(item), item=item)
    fields.finish()
    if not value.items:
        root.problems.add(value.mark, path, "names no file", f"give the paths of {', '.join(TLS_ITEMS)}")
