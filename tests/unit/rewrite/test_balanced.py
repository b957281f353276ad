"""TCP proxies of listeners that balance load tell `cilium.network` that their host is chosen."""

import pytest

from cilium_proxy import api
from cilium_proxy.rewrite.cilium import rewrite

TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def listener(*, balances=True, **proxy):
    made = api.from_dict("envoy.config.listener.v3.Listener", {"name": "passthrough", "filter_chains": [{}]})
    metadata = api.from_dict("cilium.BpfMetadata", {"is_l7lb": balances})
    made.listener_filters.add(name="cilium.bpf_metadata").typed_config.CopyFrom(api.pack(metadata))
    config = api.from_dict(TCP_PROXY, {"stat_prefix": "tcp", "cluster": "service", **proxy})
    made.filter_chains[0].filters.add(name="tcp").typed_config.CopyFrom(api.pack(config))
    return made


def rewritten(before):
    after = api.unpack(rewrite(api.pack(before)).resource)
    return api.unpack(after.filter_chains[0].filters[0].typed_config)


def test_the_proxy_gets_the_logger():
    proxy = rewritten(listener())
    assert proxy.access_log_options.flush_access_log_on_connected
    [log] = proxy.access_log
    assert api.unpack(log.typed_config).logger_name == "cilium.connected"
    assert list(log.filter.log_type_filter.types) == [1]


def test_other_listeners_stay_as_they_are():
    proxy = rewritten(listener(balances=False))
    assert not proxy.access_log
    assert not proxy.access_log_options.flush_access_log_on_connected


@pytest.mark.parametrize("given", [{}, {"filter": {"not_health_check_filter": {}}}])
def test_other_logs_write_what_they_wrote(given):
    proxy = rewritten(listener(access_log=[{"name": "own", **given}]))
    own = proxy.access_log[0]
    excluding = own.filter.and_filter.filters[1] if given else own.filter
    assert excluding.log_type_filter.exclude
    assert list(excluding.log_type_filter.types) == [1]
    assert len(proxy.access_log) == 2


def test_logs_that_want_connections_keep_them():
    options = {"flush_access_log_on_connected": True}
    proxy = rewritten(listener(access_log=[{"name": "own"}], access_log_options=options))
    assert not proxy.access_log[0].HasField("filter")
