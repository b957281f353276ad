"""TCP listeners that balance load (`is_l7lb`): `cilium.network` has to hear when the proxy has its upstream connection.

The reference asks policy when the TCP proxy has chosen a host. Stock Envoy tells nobody but access loggers: one of the
module's wakes `cilium.network`, which judges the host before any byte passes, also when neither side speaks.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import InvalidAnyError, from_dict, messages, pack, type_url, unpack
from cilium_proxy.rewrite import dynamic_module
from cilium_proxy.rewrite.cilium.errors import RewriteError

_TCP_PROXY = type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
_LOGGER = "cilium.connected"
_CONNECTED = "TcpUpstreamConnected"


def report_hosts(listener: Any, path: tuple[str, ...]) -> bool:
    """Gives the listener's TCP proxies the logger, if it balances load; tells whether anything changed.

    Before the filters are rewritten. Raises RewriteError when one of them does not parse.
    """
    if not _balances(listener, path):
        return False
    changed = False
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for item in chain.filters:
            if item.typed_config.type_url == _TCP_PROXY:
                proxy = _parsed(item.typed_config, (*path, "filter_chains"))
                _add_logger(proxy)
                item.typed_config.CopyFrom(pack(proxy))
                changed = True
    return changed


def _balances(listener: Any, path: tuple[str, ...]) -> bool:
    metadata = [item for item in listener.listener_filters if item.typed_config.type_url == dynamic_module.METADATA]
    return any(_parsed(item.typed_config, (*path, "listener_filters")).is_l7lb for item in metadata)


def _parsed(envelope: Any, path: tuple[str, ...]) -> Any:
    try:
        return unpack(envelope)
    except InvalidAnyError as error:
        raise RewriteError(path, str(error)) from error


def _add_logger(proxy: Any) -> None:
    if not proxy.access_log_options.flush_access_log_on_connected:
        proxy.access_log_options.flush_access_log_on_connected = True
        # The others go on writing what they wrote.
        for log in proxy.access_log:
            _except_connected(log)
    log = proxy.access_log.add(name=_LOGGER)
    log.filter.CopyFrom(_types(exclude=False))
    log.typed_config.CopyFrom(dynamic_module.access_logger(_LOGGER))


def _except_connected(log: Any) -> None:
    excluding = _types(exclude=True)
    if log.HasField("filter"):
        both = messages("envoy.config.accesslog.v3.AndFilter")(filters=[log.filter, excluding])
        log.filter.Clear()
        log.filter.and_filter.CopyFrom(both)
    else:
        log.filter.CopyFrom(excluding)


def _types(*, exclude: bool) -> Any:
    types = {"log_type_filter": {"types": [_CONNECTED], "exclude": exclude}}
    return from_dict("envoy.config.accesslog.v3.AccessLogFilter", types)
