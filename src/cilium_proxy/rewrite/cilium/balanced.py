"""Listeners that balance load (`is_l7lb`): policy is asked about the host that was chosen.

TCP. The reference asks policy when the TCP proxy has chosen a host. Stock Envoy tells nobody but access loggers: one of
the module's wakes `cilium.network`, which judges the host before any byte passes, also when neither side speaks.

HTTP. `cilium.l7policy` judges hosts as an upstream filter, which agents configure in clusters. Here routers get it,
too, for clusters without upstream filters, and so do clusters that have others and lack it: a request to them would be
judged only when it is answered.
"""

from __future__ import annotations

from typing import Any

from cilium_proxy.api import InvalidAnyError, from_dict, messages, pack, type_url, unpack
from cilium_proxy.rewrite import dynamic_module
from cilium_proxy.rewrite.cilium.errors import RewriteError

_TCP_PROXY = type_url("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
_MANAGER = type_url("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
_ROUTER = type_url("envoy.extensions.filters.http.router.v3.Router")
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CODEC = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
_LOGGER = "cilium.connected"
_CONNECTED = "TcpUpstreamConnected"


def judge_hosts(listener: Any, path: tuple[str, ...]) -> bool:
    """Has the hosts judged that the listener's proxies choose, if it balances load; tells whether anything changed.

    Before the filters are rewritten. Raises RewriteError when one of them does not parse.
    """
    if not _balances(listener, path):
        return False
    change = {_TCP_PROXY: _add_logger, _MANAGER: _judge_in_routers}
    changed = False
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for item in chain.filters:
            if item.typed_config.type_url in change:
                where = (*path, "filter_chains", item.name)
                config = _parsed(item.typed_config, where)
                change[item.typed_config.type_url](config, where)
                item.typed_config.CopyFrom(pack(config))
                changed = True
    return changed


def judge_in_cluster(cluster: Any, path: tuple[str, ...]) -> bool:
    """Adds `cilium.l7policy` to upstream filters of a cluster that lack it; tells whether it did.

    A cluster without upstream filters has those of the router. Raises RewriteError when its options do not parse.
    """
    if _HTTP_OPTIONS not in cluster.typed_extension_protocol_options:
        return False
    envelope = cluster.typed_extension_protocol_options[_HTTP_OPTIONS]
    options = _parsed(envelope, (*path, "typed_extension_protocol_options"))
    if options is None or not options.http_filters or _judges(options.http_filters):
        return False
    _add_policy(options.http_filters, messages("cilium.L7Policy")(judge_known_only=True))
    envelope.CopyFrom(pack(options))
    return True


def _judge_in_routers(manager: Any, path: tuple[str, ...]) -> None:
    filters = manager.http_filters
    policies = [item.typed_config for item in filters if item.typed_config.type_url == dynamic_module.L7_POLICY]
    policy = _parsed(policies[0], path) if policies else messages("cilium.L7Policy")()
    # A balancer without policy lets requests pass in the reference, which has no filter here.
    policy.judge_known_only = True
    for item in filters:
        if item.typed_config.type_url == _ROUTER:
            router = _parsed(item.typed_config, (*path, "http_filters"))
            if not _judges(router.upstream_http_filters):
                _add_policy(router.upstream_http_filters, policy)
                item.typed_config.CopyFrom(pack(router))


def _judges(filters: Any) -> bool:
    return any(
        item.typed_config.type_url == dynamic_module.L7_POLICY
        or dynamic_module.is_carried(item.typed_config, dynamic_module.L7_POLICY_FILTER)
        for item in filters
    )


def _add_policy(filters: Any, policy: Any) -> None:
    """Before the codec, which is the last: what is judged is what is sent."""
    if not filters:
        filters.add(name="envoy.filters.http.upstream_codec").typed_config.CopyFrom(pack(messages(_CODEC)()))
    item = type(filters[0])(name=dynamic_module.L7_POLICY_FILTER)
    item.typed_config.CopyFrom(pack(policy))
    filters.insert(len(filters) - 1, item)


def _balances(listener: Any, path: tuple[str, ...]) -> bool:
    metadata = [item for item in listener.listener_filters if item.typed_config.type_url == dynamic_module.METADATA]
    return any(_parsed(item.typed_config, (*path, "listener_filters")).is_l7lb for item in metadata)


def _parsed(envelope: Any, path: tuple[str, ...]) -> Any:
    try:
        return unpack(envelope)
    except InvalidAnyError as error:
        raise RewriteError(path, str(error)) from error


def _add_logger(proxy: Any, _path: tuple[str, ...]) -> None:
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
