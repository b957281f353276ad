"""proxy.yaml -> Config. All problems of the file are reported together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cilium_proxy.config.address import Address, parse_address
from cilium_proxy.config.listeners import read_listeners
from cilium_proxy.config.model import AccessLog, Config, Denied, EnvoyOptions
from cilium_proxy.config.parsers import read_parsers
from cilium_proxy.config.peers import check_addresses, read_endpoints, read_identities, read_namespaces
from cilium_proxy.config.secrets import read_secret_files
from cilium_proxy.yaml import Fields, Mark, Problems, ProblemsError, Scalar, Value, read

DEFAULT_ADMIN = Address("127.0.0.1", 9901)
DEFAULT_BODY = "Access denied"
DEFAULT_DRAIN_TIME = 5.0
LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
# Arguments that the supervisor sets itself.
_RESERVED_ARGS = (
    "-c",
    "--config-path",
    "--config-yaml",
    "--base-id",
    "--restart-epoch",
    "--concurrency",
    "--log-level",
    "-l",
)


class ConfigError(ProblemsError):
    """proxy.yaml is wrong; `problems` says all of it."""


def load(path: str | Path) -> Config:
    """Reads proxy.yaml. Raises ConfigError."""
    problems = Problems()
    path = Path(path)
    documents = read(path, problems)
    if not problems and len(documents) != 1:
        message = "is empty" if not documents else f"holds {len(documents)} documents"
        problems.add(Mark(str(path)), "", message, "write one configuration document")
    if problems:
        raise ConfigError(problems.found)
    return parse_config(documents[0], path, problems)


def parse_config(document: Value, path: Path, problems: Problems | None = None) -> Config:
    """Builds the configuration from a document of the file `path`. Raises ConfigError."""
    problems = problems if problems is not None else Problems()
    base = path.resolve().parent
    root = Fields(document, "", problems)
    namespaces = read_namespaces(root)
    endpoints = read_endpoints(root, namespaces)
    identities = read_identities(root, namespaces)
    check_addresses(endpoints, identities, problems)
    listeners = read_listeners(root, endpoints)
    admin = _admin(root)
    _check_ports(root, admin, listeners=[(listener.address, listener.name) for listener in listeners])
    policies = {str(base / entry): mark for entry, mark, _ in root.strings("policies")}
    config = Config(
        file=path.resolve(),
        endpoints=tuple(endpoints),
        identities=tuple(identities),
        namespaces=namespaces,
        listeners=tuple(listeners),
        policies=tuple(policies),
        access_log=_access_log(root, base),
        admin=admin,
        concurrency=root.integer("concurrency", 1, 1024),
        drain_time=_default(root.seconds("drain_time"), DEFAULT_DRAIN_TIME),
        denied=_denied(root),
        envoy=_envoy(root),
        secrets=read_secret_files(root, base),
        parsers=read_parsers(root, base),
        places={**policies, "admin": root.where("admin")},
    )
    root.finish()
    if problems:
        raise ConfigError(problems.found)
    return config


def _default(value: float | None, default: float) -> float:
    return default if value is None else value


def _is_false(value: Value | None) -> bool:
    return isinstance(value, Scalar) and value.value is False


def _admin(root: Fields) -> Address | None:
    if _is_false(root.value("admin")):
        return None
    text = root.string("admin")
    if text is None:
        return DEFAULT_ADMIN
    try:
        return parse_address(text)
    except ValueError as error:
        root.problem("admin", f"`{text}`: {error}")
        return DEFAULT_ADMIN


def _check_ports(root: Fields, admin: Address | None, listeners: list[tuple[Address, str]]) -> None:
    for address, name in listeners:
        if address == admin:
            root.problem("admin", f"{address} is also the address of listener `{name}`", "use another port")


def _access_log(root: Fields, base: Path) -> AccessLog:
    none = AccessLog(kind="none", format="compact", path=None)
    if _is_false(root.value("access_log")):
        return none
    fields = root.fields("access_log")
    if fields is None:
        return AccessLog(kind="stdout", format="compact", path=None)
    stdout = fields.string("stdout", choices=("compact", "json"))
    file, socket = fields.string("file"), fields.string("socket")
    form = fields.string("format", choices=("compact", "json"))
    given = [name for name in ("stdout", "file", "socket") if fields.has(name)]
    if len(given) != 1:
        what = "names no destination" if not given else f"names {' and '.join(given)}"
        root.problem("access_log", what, "give exactly one of stdout, file, socket, or `access_log: false`")
    if stdout and form:
        fields.problem("format", "belongs to `file`", "write `stdout: json` or `stdout: compact`")
    if socket and form:
        fields.problem("format", "belongs to `file`; a socket gets cilium.LogEntry messages", "remove it")
    fields.finish()
    chosen: Literal["compact", "json"] = "json" if "json" in (stdout, form) else "compact"
    if file is not None:
        return AccessLog(kind="file", format=chosen, path=base / file)
    if socket is not None:
        return AccessLog(kind="socket", format="json", path=base / socket)
    return AccessLog(kind="stdout", format=chosen, path=None)


def _denied(root: Fields) -> Denied:
    fields = root.fields("denied")
    if fields is None:
        return Denied(body=DEFAULT_BODY, reason_header=None)
    body, header = fields.string("body"), fields.string("reason_header")
    if header is not None and not _is_token(header):
        fields.problem("reason_header", f"`{header}` is not a header name", "use letters, digits and dashes")
    fields.finish()
    return Denied(body=DEFAULT_BODY if body is None else body, reason_header=header.lower() if header else None)


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in text)


def _envoy(root: Fields) -> EnvoyOptions:
    fields = root.fields("envoy")
    if fields is None:
        return EnvoyOptions(log_level="warning", extra_args=())
    level = fields.value("log_level")
    # YAML reads a bare `off` as false.
    name = "off" if _is_false(level) else fields.string("log_level", choices=LOG_LEVELS)
    args = fields.strings("extra_args")
    for arg, mark, path in args:
        if arg.split("=", 1)[0].split(" ", 1)[0] in _RESERVED_ARGS:
            fields.problems.add(
                mark, path, f"`{arg}` is set by the proxy itself", "use proxy.yaml's own field or remove it"
            )
    fields.finish()
    return EnvoyOptions(log_level=name or "warning", extra_args=tuple(arg for arg, _, _ in args))
