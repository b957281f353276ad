"""Listeners of proxy.yaml."""

from __future__ import annotations

import ipaddress
from typing import cast

from cilium_proxy.config.address import Address, parse_address
from cilium_proxy.config.model import Direction, Endpoint, HttpOptions, Listener, Protocol, UpstreamProtocol
from cilium_proxy.yaml import Fields, Mark
from cilium_proxy.yaml.fields import suggestion

CONNECT_TIMEOUT = 5.0
IDLE_TIMEOUT = 3600.0
REQUEST_TIMEOUT = 0.0

_NOWHERE = Address("127.0.0.1", 1)


def read_listeners(root: Fields, endpoints: list[Endpoint]) -> list[Listener]:
    """The `listeners` list."""
    found: list[Listener] = []
    names: dict[str, Mark] = {}
    addresses: dict[Address, str] = {}
    by_name = {endpoint.name: endpoint for endpoint in endpoints}
    for path, value in root.items("listeners"):
        fields = Fields(value, path, root.problems)
        listener = _listener(fields, by_name)
        fields.finish()
        if listener.name in names:
            fields.problem(
                "name", f"`{listener.name}` is also the name on line {names[listener.name].line}", "rename one"
            )
        if listener.address in addresses and fields.has("address"):
            other = addresses[listener.address]
            fields.problem(
                "address", f"{listener.address} is also the address of listener `{other}`", "use another port"
            )
        names.setdefault(listener.name, fields.where("name"))
        addresses.setdefault(listener.address, listener.name)
        found.append(listener)
    return found


def _listener(fields: Fields, endpoints: dict[str, Endpoint]) -> Listener:
    name = fields.string("name", required=True) or ""
    direction = cast(Direction, fields.string("direction", required=True, choices=("ingress", "egress")) or "ingress")
    address = _address(fields, "address", names=False)
    upstream = _address(fields, "upstream", names=direction == "ingress")
    endpoint = fields.string("endpoint", required=True) or ""
    if endpoint and endpoint not in endpoints:
        fix = (
            suggestion(endpoint, endpoints)
            or f"add it to `endpoints` or use one of: {', '.join(endpoints) or 'none yet'}"
        )
        fields.problem("endpoint", f"there is no endpoint `{endpoint}`", fix)
    if address == upstream and address is not _NOWHERE:
        fields.problem(
            "upstream", f"{upstream} is the listener's own address", "give the address of the service behind it"
        )
    port = fields.integer("port", 1, 65535)
    protocol = cast(Protocol, fields.string("protocol", choices=("http", "tcp")) or "http")
    if protocol != "http" and fields.has("http"):
        fields.problem("http", f"means nothing to a listener with protocol {protocol}", "remove it")
    timeouts = {name: fields.seconds(name, low=low) for name, low in _TIMEOUTS.items()}
    return Listener(
        name=name,
        direction=direction,
        address=address,
        endpoint=endpoint,
        upstream=upstream,
        protocol=protocol,
        port=port or (address.port if direction == "ingress" else upstream.port),
        connect_timeout=_or(timeouts["connect_timeout"], CONNECT_TIMEOUT),
        idle_timeout=_or(timeouts["idle_timeout"], IDLE_TIMEOUT),
        request_timeout=_or(timeouts["request_timeout"], REQUEST_TIMEOUT),
        mark=fields.mark,
        tls=fields.boolean("tls") or False,
        http=_http(fields.fields("http")),
    )


def _http(fields: Fields | None) -> HttpOptions:
    if fields is None:
        return HttpOptions()
    upstream = fields.string("upstream_protocol", choices=("same", "http1", "http2"))
    options = HttpOptions(
        request_id=fields.boolean("request_id") or False,
        forwarded_for=fields.boolean("forwarded_for") or False,
        envoy_headers=fields.boolean("envoy_headers") or False,
        server_header=fields.boolean("server_header") or False,
        upstream_statistics=fields.boolean("upstream_statistics") or False,
        idle_timeout=fields.seconds("idle_timeout") or 0.0,
        upstream_protocol=cast(UpstreamProtocol, upstream or "same"),
    )
    fields.finish()
    return options


_TIMEOUTS = {"connect_timeout": 0.001, "idle_timeout": 0.0, "request_timeout": 0.0}


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _address(fields: Fields, name: str, *, names: bool) -> Address:
    text = fields.string(name, required=True)
    if text is None:
        return _NOWHERE
    try:
        address = parse_address(text, names=names)
    except ValueError as error:
        fields.problem(name, f"`{text}`: {error}")
        return _NOWHERE
    if name == "upstream" and address.is_ip and ipaddress.ip_address(address.host).is_unspecified:
        fields.problem(name, f"`{text}` is no address to connect to", "give the address of the service")
    return address
