"""The chart's bootstrap."""

import json
from pathlib import Path

import pytest
import yaml
from tests.agent import resources

from cilium_proxy import api
from cilium_proxy.rewrite import dynamic_module
from cilium_proxy.rewrite.cilium import Options, read_bootstrap
from cilium_proxy.rewrite.cilium.bootstrap import BootstrapError
from cilium_proxy.rewrite.instance import instance_of
from cilium_proxy.rewrite.python_parsers import Embedding, PythonParsers

AGENT, ADMIN, OURS = Path("/run/agent.sock"), Path("/run/admin.sock"), Path("/run/ours.sock")
MODULE = api.messages("cilium_proxy.v1.ModuleBootstrap")(policy_socket="/run/policy.sock", instance="envoy")


def given(**options):
    return resources.bootstrap(AGENT, ADMIN, **options)


def made(fields):
    return read_bootstrap(json.dumps(fields)).for_envoy(OURS, MODULE, Options())


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["JSON", "YAML"])
def test_agent_admin_and_node_are_found(write):
    bootstrap = read_bootstrap(write(given()))
    assert (bootstrap.agent_socket, bootstrap.admin) == (AGENT, ADMIN)
    assert bootstrap.node.id == "host~127.0.0.1~no-id~localdomain"


@pytest.mark.parametrize(
    ("options", "transport"),
    [
        ({}, "split"),
        ({"ads": "GRPC"}, "ads"),
        ({"ads": "DELTA_GRPC"}, "delta-ads"),
        (
            {"source": {"api_config_source": {**resources.agent_source()["api_config_source"], "api_type": 3}}},
            "delta",
        ),
    ],
)
def test_the_transport_is_what_the_bootstrap_has_envoy_speak(options, transport):
    assert read_bootstrap(json.dumps(given(**options))).transport == transport


def test_only_the_agent_s_socket_the_wrappers_and_the_module_change():
    after, warnings = made(given())
    before = read_bootstrap(json.dumps(given())).message
    assert warnings == ()
    clusters = {cluster.name: cluster for cluster in after.static_resources.clusters}
    agent = clusters["xds-grpc-cilium"].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address
    assert agent.pipe.path == str(OURS)
    for old in before.static_resources.clusters:
        if old.name in ("ingress-cluster", "egress-cluster", "/envoy-admin"):
            assert clusters[old.name] == old
    assert not clusters.keys() & {"egress-cluster-tls", "ingress-cluster-tls"}
    assert instance_of(after.node) == "envoy"
    after.node.ClearField("metadata")
    for source in ("lds_config", "cds_config"):
        service = getattr(after.dynamic_resources, source).api_config_source.grpc_services[0].envoy_grpc
        assert service.retry_policy.retry_back_off.max_interval.ToJsonString() == "2s"
        service.ClearField("retry_policy")
    for field in ("node", "dynamic_resources", "admin", "overload_manager", "application_log_config"):
        assert getattr(after, field) == getattr(before, field)
    assert list(after.static_resources.listeners) == list(before.static_resources.listeners)
    assert after.bootstrap_extensions[0] == before.bootstrap_extensions[0]


def test_clusters_whose_sockets_policy_chooses_are_left_to_discovery():
    bootstrap = read_bootstrap(json.dumps(given()))
    assert sorted(bootstrap.policy_clusters) == ["egress-cluster-tls", "ingress-cluster-tls"]


def test_without_discovery_such_clusters_stay():
    fields = given()
    del fields["dynamic_resources"]
    assert read_bootstrap(json.dumps(fields)).policy_clusters == {}
    clusters = {cluster.name: cluster for cluster in made(fields)[0].static_resources.clusters}
    assert clusters["ingress-cluster-tls"].HasField("transport_socket_matcher")


def test_a_stream_for_every_secret_is_within_the_limits():
    cluster = next(one for one in made(given())[0].static_resources.clusters if one.name == "xds-grpc-cilium")
    assert cluster.circuit_breakers.thresholds[0].max_requests.value >= 100_000


def config_of(message):
    (extension,) = [one for one in message.bootstrap_extensions if dynamic_module.is_module_bootstrap(one.typed_config)]
    inner = api.unpack(extension.typed_config)
    return inner, type(MODULE).FromString(api.unpack(inner.extension_config).value)


def test_the_module_is_configured():
    inner, config = config_of(made(given())[0])
    assert inner.extension_name == "cilium.bootstrap"
    assert config == MODULE


def test_a_module_that_the_agent_configured_is_configured_once():
    theirs = dynamic_module.module_bootstrap(api.messages("cilium_proxy.v1.ModuleBootstrap")())
    extension = api.to_dict(theirs)
    extension["dynamic_module_config"] = {"name": "cilium_dynamic_modules", "metrics_namespace": "theirs"}
    fields = given()
    fields["bootstrap_extensions"].append({"name": "theirs", "typed_config": extension})
    inner, config = config_of(made(fields)[0])
    assert config == MODULE
    assert inner.dynamic_module_config.metrics_namespace == "theirs"
    assert inner.dynamic_module_config.do_not_close


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "neither JSON nor YAML"),
        ("a: [", "neither JSON nor YAML"),
        ("[]", "holds no fields"),
        ("", "holds no fields"),
        ('{"nodes": {}}', "nodes"),
        ('{"node": {"id": 5}}', "node"),
    ],
)
def test_what_is_no_bootstrap_is_refused(text, problem):
    with pytest.raises(BootstrapError, match=problem):
        read_bootstrap(text)


def test_a_bootstrap_of_another_proxy_is_refused():
    with pytest.raises(BootstrapError, match="no static cluster xds-grpc-cilium"):
        made({"node": {"id": "a"}})


def test_an_agent_on_a_network_address_is_refused():
    fields = given()
    agent = next(one for one in fields["static_resources"]["clusters"] if one["name"] == "xds-grpc-cilium")
    agent["load_assignment"]["endpoints"] = []
    with pytest.raises(BootstrapError, match="no Unix socket"):
        made(fields)


def test_python_parsers_are_run_where_directories_are_given():
    embedding = Embedding(
        library=Path("/a/libembed.so"), needed=(Path("/a/libpython.so"),), program=Path("/a/python"), package=Path("/a")
    )
    parsers = PythonParsers(
        embedding=embedding, directories=[Path("/p"), Path("/q")], time_limit=0.5, memory_limit=1 << 20
    )
    options = Options(python_parsers=parsers)
    without, _ = made(given())
    after, _ = read_bootstrap(json.dumps(given())).for_envoy(OURS, MODULE, options)
    assert api.to_dict(config_of(after)[1].python_parsers) == {
        "library": "/a/libembed.so",
        "needed": ["/a/libpython.so"],
        "program": "/a/python",
        "package": "/a",
        "directories": ["/p", "/q"],
        "memory": "1048576",
        "time_limit": "0.500s",
    }
    first, *others = after.layered_runtime.layers
    assert dict(first.static_layer.items()) == {
        "envoy.reloadable_features.connection_close_through_filter_manager": True
    }
    assert [layer.name for layer in others] == ["admin"]
    assert not without.layered_runtime.layers
    assert not config_of(without)[1].HasField("python_parsers")
