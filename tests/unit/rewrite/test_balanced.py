"""In listeners that balance load, policy hears which host was chosen."""

import pytest
from tests.agent import resources
from tests.agent.resources import extension

from cilium_proxy import api
from cilium_proxy.rewrite.cilium import RewriteError, rewrite

TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
HTTP = "envoy.extensions.filters.http."
ROUTER = HTTP + "router.v3.Router"
CODEC = extension("codec", HTTP + "upstream_codec.v3.UpstreamCodec")
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NODE = resources.Agent(access_log="/run/log.sock")


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


def upstream_filters(before):
    """Names of the upstream filters of a listener's router after the rewrite, with the messages of Cilium's."""
    after = api.unpack(rewrite(api.pack(before)).resource)
    manager = api.unpack(after.filter_chains[0].filters[-1].typed_config)
    router = api.unpack(manager.http_filters[-1].typed_config)
    return [(one.name, policy_of(one)) for one in router.upstream_http_filters]


def policy_of(item):
    carried = api.unpack(item.typed_config)
    if item.name != "cilium.l7policy":
        return None
    assert carried.filter_name == "cilium.l7policy"
    return api.messages("cilium.L7Policy").FromString(api.unpack(carried.filter_config).value)


def test_routers_judge_with_the_listener_s_own_settings():
    [(first, policy), (second, _)] = upstream_filters(NODE.gateway())
    assert (first, second) == ("cilium.l7policy", "envoy.filters.http.upstream_codec")
    assert policy.access_log_path == "/run/log.sock"
    assert policy.judge_known_only


def with_router(**router):
    made = NODE.gateway()
    manager = api.unpack(made.filter_chains[0].filters[1].typed_config)
    manager.http_filters[-1].typed_config.CopyFrom(api.pack(api.from_dict(ROUTER, router)))
    made.filter_chains[0].filters[1].typed_config.CopyFrom(api.pack(manager))
    return made


def test_upstream_filters_of_a_router_stay_and_come_before():
    mutation = extension("mutation", HTTP + "header_mutation.v3.HeaderMutation")
    found = upstream_filters(with_router(upstream_http_filters=[mutation, CODEC]))
    assert [name for name, _ in found] == ["mutation", "cilium.l7policy", "codec"]


def test_a_router_that_judges_stays_as_it_is():
    own = extension("cilium.l7policy", "cilium.L7Policy", denied_403_body="own")
    [(_, policy), _] = upstream_filters(with_router(upstream_http_filters=[own, CODEC]))
    assert policy.denied_403_body == "own"


def test_routers_of_other_listeners_stay_as_they_are():
    assert upstream_filters(NODE.http(ingress=True)) == []


def test_a_manager_that_does_not_parse_is_named():
    made = NODE.gateway()
    made.filter_chains[0].filters[1].typed_config.value = b"\xff"
    with pytest.raises(RewriteError, match=r"filter_chains\.envoy\.filters\.network\.http_connection_manager"):
        rewrite(api.pack(made))


def cluster_filters(cluster):
    after = api.unpack(rewrite(api.pack(cluster)).resource)
    options = api.unpack(after.typed_extension_protocol_options[OPTIONS])
    return [(one.name, policy_of(one)) for one in options.http_filters]


def test_upstream_filters_of_a_cluster_judge_what_comes_from_listeners_with_policy():
    (first, _), (second, policy), _ = cluster_filters(NODE.service("others"))
    assert (first, second) == ("envoy.filters.http.header_mutation", "cilium.l7policy")
    assert policy.judge_known_only


def test_a_cluster_that_judges_stays_as_it_is():
    (_, policy), _ = cluster_filters(NODE.service())
    assert not policy.judge_known_only


@pytest.mark.parametrize("filters", ["none", None])
def test_a_cluster_without_upstream_filters_stays_as_it_is(filters):
    before = api.pack(NODE.service(filters))
    assert rewrite(before).resource == before


def test_options_of_a_cluster_that_do_not_parse_are_named():
    made = NODE.service()
    made.typed_extension_protocol_options[OPTIONS].value = b"\xff"
    with pytest.raises(RewriteError, match="typed_extension_protocol_options"):
        rewrite(api.pack(made))
