"""Filters wherever they may stand."""

import pytest
from tests.agent import resources

from cilium_proxy import api
from cilium_proxy.rewrite import dynamic_module
from cilium_proxy.rewrite.cilium import RewriteError, rewrite

AGENT = resources.Agent()
L7POLICY = {"@type": api.type_url("cilium.L7Policy"), "denied_403_body": "no"}
HTTP = "envoy.extensions.filters.http.dynamic_modules.v3."


def manager(listener, chain=0):
    return api.unpack(listener.filter_chains[chain].filters[-1].typed_config)


def urls(message):
    """Type URLs of all extensions in a message, at any depth."""
    found = set()
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            values = [one for one in value.values() if hasattr(one, "DESCRIPTOR")]
        else:
            values = value if field.is_repeated else [value]
        for one in values:
            if one.DESCRIPTOR.full_name == "google.protobuf.Any":
                found.add(one.type_url)
                inner = api.unpack(one)
                found |= urls(inner) if inner is not None else set()
            else:
                found |= urls(one)
    return found


@pytest.mark.parametrize(
    "resource",
    [
        AGENT.http(ingress=True),
        AGENT.http(ingress=False),
        AGENT.tcp(),
        AGENT.gateway(secure="/secret"),
        AGENT.passthrough(),
        AGENT.service(),
    ],
    ids=["http-ingress", "http-egress", "tcp", "gateway", "passthrough", "service"],
)
def test_nothing_of_cilium_is_left(made, resource):
    assert [url for url in urls(made(resource).message) if "cilium." in url or "mysql" in url] == []


def test_network_and_http_filters_keep_name_and_bytes(made, carried):
    before = AGENT.http(ingress=True)
    after = made(before).message
    chain = after.filter_chains[0]
    assert chain.filters[0].name == "cilium.network"
    assert carried(chain.filters[0].typed_config) == ("cilium.network", b"")
    name, value = carried(manager(after).http_filters[0].typed_config)
    assert (name, value) == ("cilium.l7policy", manager(before).http_filters[0].typed_config.value)


def test_the_metadata_filter_is_carried(made, carried):
    before = AGENT.http(ingress=True)
    name, value = carried(made(before).message.listener_filters[1].typed_config)
    # The listener has chains with the TLS wrapper.
    metadata = api.unpack(before.listener_filters[1].typed_config)
    metadata.tls_chains = True
    assert (name, value) == ("cilium.bpf_metadata", api.serialise(metadata))


def test_upstream_filters_of_clusters_are_carried(made, carried):
    cluster = made(AGENT.service()).message
    options = api.unpack(next(iter(cluster.typed_extension_protocol_options.values())))
    assert carried(options.http_filters[0].typed_config)[0] == "cilium.l7policy"
    assert options.http_filters[1].name == "envoy.filters.http.upstream_codec"


def test_upstream_filters_of_the_router_are_carried(made, carried):
    router = api.from_dict(
        "envoy.extensions.filters.http.router.v3.Router",
        {"upstream_http_filters": [{"name": "cilium.l7policy", "typed_config": L7POLICY}]},
    )
    assert carried(made(router).message.upstream_http_filters[0].typed_config)[0] == "cilium.l7policy"


@pytest.mark.parametrize("level", ["virtual host", "route"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "FilterConfig"])
def test_overrides_of_routes_become_those_of_the_module(made, level, wrapped):
    config = L7POLICY
    if wrapped:
        config = {"@type": api.type_url("envoy.config.route.v3.FilterConfig"), "config": L7POLICY}
    override = {"typed_per_filter_config": {"cilium.l7policy": config}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "a"}}
    host = {"name": "a", "domains": ["*"], "routes": [route]}
    (host if level == "virtual host" else route).update(override)
    routes = api.from_dict("envoy.config.route.v3.RouteConfiguration", {"name": "r", "virtual_hosts": [host]})
    after = made(routes).message.virtual_hosts[0]
    holder = after if level == "virtual host" else after.routes[0]
    found = holder.typed_per_filter_config["cilium.l7policy"]
    if wrapped:
        found = api.unpack(found).config
    assert found.type_url == api.type_url(HTTP + "DynamicModuleFilterPerRoute")
    inner = api.unpack(found)
    assert inner.per_route_config_name == "cilium.l7policy"
    assert api.messages("cilium.L7Policy").FromString(api.unpack(inner.filter_config).value).denied_403_body == "no"


def test_discovered_filters_are_expected_with_the_type_they_arrive_with(made, carried):
    discovered = api.from_dict(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        {
            "stat_prefix": "a",
            "http_filters": [
                {
                    "name": "policy",
                    "config_discovery": {
                        "config_source": resources.agent_source(),
                        "type_urls": [api.type_url("cilium.L7Policy"), api.type_url("google.protobuf.StringValue")],
                        "default_config": L7POLICY,
                    },
                }
            ],
        },
    )
    source = made(discovered).message.http_filters[0].config_discovery
    wanted = [api.type_url(HTTP + "DynamicModuleFilter"), api.type_url("google.protobuf.StringValue")]
    assert list(source.type_urls) == wanted
    assert carried(source.default_config)[0] == "cilium.l7policy"
    delivered = api.from_dict("envoy.config.core.v3.TypedExtensionConfig", {"name": "policy", "typed_config": L7POLICY})
    assert made(delivered).message.typed_config.type_url == wanted[0]


@pytest.mark.parametrize("side", ["client", "server"])
def test_websocket_filters_are_carried(made, carried, side):
    config = {"@type": api.type_url(f"cilium.WebSocket{side.capitalize()}")}
    chain = api.from_dict("envoy.config.listener.v3.FilterChain", {"filters": [{"name": "w", "typed_config": config}]})
    assert carried(made(chain).message.filters[0].typed_config)[0] == f"cilium.network.websocket.{side}"


@pytest.mark.parametrize(
    "resource",
    [
        AGENT.routes(),
        resources.endpoints("10.0.0.1", 80),
        api.from_dict("envoy.config.cluster.v3.Cluster", {"name": "a"}),
        api.from_dict(
            "envoy.config.listener.v3.Listener",
            {"name": "a", "filter_chains": [{"filters": [{"name": "cilium.network"}]}]},
        ),
    ],
)
def test_resources_without_cilium_extensions_pass_byte_for_byte(resource):
    envelope = api.pack(resource)
    assert rewrite(envelope).resource is envelope


def test_resources_that_use_the_module_already_pass_unchanged():
    metadata = api.messages("cilium.BpfMetadata")(is_ingress=True)
    listener = api.from_dict("envoy.config.listener.v3.Listener", {"name": "a", "filter_chains": [{}]})
    listener.listener_filters.add(name="cilium.bpf_metadata").typed_config.CopyFrom(
        dynamic_module.module_filter(metadata)
    )
    network = listener.filter_chains[0].filters.add(name="cilium.network")
    network.typed_config.CopyFrom(dynamic_module.module_filter(api.messages("cilium.NetworkFilter")()))
    envelope = api.pack(listener)
    assert rewrite(envelope).resource is envelope


def test_unknown_extensions_pass_for_envoy_to_name_them(made):
    chain = api.messages("envoy.config.listener.v3.FilterChain")()
    chain.filters.add(name="x").typed_config.type_url = "type.googleapis.com/cilium.Unknown"
    assert made(chain).message == chain


def test_a_filter_that_does_not_parse_is_refused_with_its_place():
    listener = AGENT.http(ingress=True)
    listener.filter_chains[1].filters[0].typed_config.value = b"\xff"
    with pytest.raises(RewriteError, match=r"filter_chains\[1\]\.filters\[cilium\.network\].*cilium\.NetworkFilter"):
        rewrite(api.pack(listener))


def test_a_resource_that_does_not_parse_is_refused():
    envelope = api.messages("google.protobuf.Any")(
        type_url=api.type_url("envoy.config.listener.v3.Listener"), value=b"\xff"
    )
    with pytest.raises(RewriteError, match=r"envoy\.config\.listener\.v3\.Listener"):
        rewrite(envelope)
