from pathlib import Path

import pytest

from cilium_proxy import api
from cilium_proxy.config import Address, Denied, Endpoint, HttpOptions, Listener
from cilium_proxy.rewrite import standalone
from cilium_proxy.yaml import Mark

DENIED = Denied(body="Access denied", reason_header=None)
ENDPOINT = Endpoint(
    name="api", namespace="default", labels={}, ips=("10.0.0.1", "fd00::1"), identity=None, mark=Mark("proxy.yaml")
)


def listener(**fields):
    defaults = {
        "name": "in",
        "direction": "ingress",
        "address": Address("127.0.0.1", 8080),
        "endpoint": "api",
        "upstream": Address("127.0.0.1", 9000),
        "protocol": "http",
        "port": 80,
        "connect_timeout": 5.0,
        "idle_timeout": 3600.0,
        "request_timeout": 0.0,
        "mark": Mark("proxy.yaml"),
    }
    return Listener(**(defaults | fields))


def made(wanted, denied=DENIED, access_log=Path("/run/access_log.sock")):
    return standalone.listener(wanted, ENDPOINT, denied, access_log)


def manager(message):
    return api.unpack(message.filter_chains[0].filters[1].typed_config)


def test_an_ingress_listener_stands_for_its_endpoint():
    (item,) = made(listener()).listener_filters
    metadata = api.unpack(item.typed_config)
    assert item.name == "cilium.bpf_metadata"
    assert metadata.is_ingress
    assert metadata.use_nphds
    assert metadata.proxy_id == 8080
    assert (metadata.local_endpoint.endpoint_ip, metadata.local_endpoint.port) == ("10.0.0.1", 80)
    assert metadata.local_endpoint.destination_ip == ""


def test_policy_of_an_egress_listener_is_about_the_upstream():
    upstream = Address("192.0.2.7", 443)
    message = made(listener(direction="egress", upstream=upstream, port=443))
    metadata = api.unpack(message.listener_filters[0].typed_config)
    assert not metadata.is_ingress
    assert metadata.local_endpoint.destination_ip == "192.0.2.7"


def test_the_connections_verdict_comes_before_http():
    message = made(listener())
    first, log = message.filter_chains[0].filters[0], "stream:/run/access_log.sock"
    assert (first.name, api.unpack(first.typed_config).access_log_path) == ("cilium.network", log)
    first = manager(message).http_filters[0]
    policy = api.unpack(first.typed_config)
    assert (first.name, policy.access_log_path) == ("cilium.l7policy", log)
    assert policy.denied_403_body == "Access denied"
    assert manager(message).http_filters[1].name == "envoy.filters.http.router"


def test_denied_answers_are_as_configured():
    message = made(listener(), denied=Denied(body="no", reason_header="x-reason"), access_log=None)
    policy = api.unpack(manager(message).http_filters[0].typed_config)
    assert (policy.denied_403_body, policy.denied_reason_header, policy.access_log_path) == ("no", "x-reason", "")


def test_what_nobody_asked_for_is_off():
    connections = manager(made(listener()))
    assert not connections.generate_request_id.value
    assert connections.HasField("generate_request_id")
    assert api.to_dict(connections)["server_header_transformation"] == "PASS_THROUGH"
    router = api.unpack(connections.http_filters[1].typed_config)
    assert router.suppress_envoy_headers
    assert router.HasField("dynamic_stats")
    assert not router.dynamic_stats.value


def test_paths_are_normalised_before_policy_sees_them():
    connections = manager(made(listener()))
    assert connections.normalize_path.value
    assert connections.merge_slashes
    assert api.to_dict(connections)["path_with_escaped_slashes_action"] == "UNESCAPE_AND_REDIRECT"


def test_a_tcp_listener_has_no_http():
    message = made(listener(protocol="tcp"))
    assert [one.name for one in message.filter_chains[0].filters] == [
        "cilium.network",
        "envoy.filters.network.tcp_proxy",
    ]
    assert api.unpack(message.filter_chains[0].filters[1].typed_config).cluster == "in"


@pytest.mark.parametrize("upstream", [Address("127.0.0.1", 9000), Address("::1", 9000)])
def test_an_upstream_address_needs_no_dns(upstream):
    fields = api.to_dict(standalone.cluster(listener(upstream=upstream)))
    assert fields.get("type", "STATIC") == "STATIC"
    endpoint = fields["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": upstream.host, "port_value": 9000}


def test_an_upstream_name_is_resolved():
    assert api.to_dict(standalone.cluster(listener(upstream=Address("db.example", 9000))))["type"] == "STRICT_DNS"


def test_timeouts_reach_envoy():
    wanted = listener(
        connect_timeout=0.25, idle_timeout=90.0, request_timeout=15.0, http=HttpOptions(idle_timeout=45.0)
    )
    assert api.to_dict(standalone.cluster(wanted))["connect_timeout"] == "0.250s"
    connections = api.to_dict(manager(made(wanted)))
    assert connections["common_http_protocol_options"]["idle_timeout"] == "90s"
    assert connections["stream_idle_timeout"] == "45s"
    assert connections["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["timeout"] == "15s"


@pytest.mark.parametrize("admin", [Address("127.0.0.1", 9901), Path("/run/admin.sock")])
def test_the_bootstrap_leads_to_the_control_plane(admin):
    wanted = standalone.Bootstrap(
        xds_socket=Path("/run/xds.sock"), policy_socket=Path("/run/policy.sock"), admin=admin, instance="envoy"
    )
    message = standalone.bootstrap(wanted)
    fields = api.to_dict(message)
    (cluster,) = fields["static_resources"]["clusters"]
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"pipe": {"path": "/run/xds.sock"}}
    extension = api.unpack(message.bootstrap_extensions[0].typed_config)
    assert extension.dynamic_module_config.do_not_close
    config = api.messages("cilium_proxy.v1.ModuleBootstrap").FromString(api.unpack(extension.extension_config).value)
    assert (config.policy_socket, config.instance) == ("/run/policy.sock", "envoy")
    kind = "pipe" if isinstance(admin, Path) else "socket_address"
    assert kind in fields["admin"]["address"]


def test_what_costs_time_is_on_where_it_is_asked_for():
    options = HttpOptions(
        request_id=True, forwarded_for=True, envoy_headers=True, server_header=True, upstream_statistics=True
    )
    plain, asked = manager(made(listener())), manager(made(listener(http=options)))

    def switches(http):
        router = api.unpack(http.http_filters[1].typed_config)
        return (
            http.generate_request_id.value,
            not http.skip_xff_append,
            not router.suppress_envoy_headers,
            http.server_header_transformation != http.PASS_THROUGH,
            router.dynamic_stats.value,
        )

    assert switches(plain) == (False,) * 5
    assert switches(asked) == (True,) * 5


@pytest.mark.parametrize(
    ("protocol", "upstream", "offered"),
    [
        ("http", "same", ["http/1.1"]),
        ("http", "http1", ["h2", "http/1.1"]),
        ("http", "http2", ["h2", "http/1.1"]),
        ("tcp", "same", []),
    ],
)
def test_policy_chooses_the_sockets_of_a_listener_for_tls(protocol, upstream, offered):
    wanted = listener(protocol=protocol, tls=True, http=HttpOptions(upstream_protocol=upstream))
    message = made(wanted)
    assert [one.name for one in message.listener_filters] == [
        "envoy.filters.listener.tls_inspector",
        "cilium.bpf_metadata",
    ]
    (chain,) = message.filter_chains
    assert list(api.unpack(chain.transport_socket.typed_config).alpn_protocols) == offered
    assert standalone.cluster(wanted).transport_socket.name == "cilium.tls_wrapper"


def test_other_listeners_do_not_look_for_tls():
    message = made(listener())
    assert [one.name for one in message.listener_filters] == ["cilium.bpf_metadata"]
    assert not message.filter_chains[0].HasField("transport_socket")
    assert not standalone.cluster(listener()).HasField("transport_socket")
