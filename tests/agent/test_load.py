"""Stock Envoy loads what the rewriting makes of everything an agent sends."""

import dataclasses
import json
import subprocess

import pytest
from tests.agent import resources
from tests.integration.addresses import free_port

from cilium_proxy.api import from_dict, to_dict
from cilium_proxy.rewrite.cilium import Options, TlsContexts, read_bootstrap
from cilium_proxy.supervisor.agent import agent_command, envoy_bootstrap
from cilium_proxy.supervisor.agent_arguments import AgentArguments

NODE = resources.Agent(bpf=None)
LISTENERS = {
    "http ingress": NODE.http(ingress=True),
    "http egress": NODE.http(ingress=False),
    "tls egress": NODE.tcp(),
    "proxylib egress": NODE.tcp("cilium-proxylib-egress"),
    "gateway": NODE.gateway(),
    "gateway with TLS": NODE.gateway(secure="/secret"),
    "TLS passthrough": NODE.passthrough(),
}


def validate(directory, bootstrap, options):
    """Has Envoy check a bootstrap after the rewrite; returns its exit code and log."""
    made = envoy_bootstrap(bootstrap, directory, options)
    made.message.admin.Clear()
    path = directory / "made.json"
    path.write_text(json.dumps(to_dict(made.message)))
    command = agent_command(AgentArguments(envoy=("--mode", "validate", "--log-level", "warning")), path)
    result = subprocess.run(command.argv, env=command.environment, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout + result.stderr


def with_resources(listeners=(), clusters=()):
    """The chart's bootstrap with further listeners and clusters in it, in place of those from xDS."""
    bootstrap = read_bootstrap(
        json.dumps(resources.bootstrap("/run/agent.sock", "/run/admin.sock", metrics=free_port(), health=free_port()))
    )
    bootstrap.message.ClearField("dynamic_resources")
    bootstrap.message.static_resources.listeners.extend(listeners)
    bootstrap.message.static_resources.clusters.extend(clusters)
    return bootstrap


@pytest.mark.parametrize("name", LISTENERS)
def test_listeners_load(directory, name):
    bootstrap = with_resources([LISTENERS[name]], [NODE.service()])
    # Without the socket library the private options would be refused.
    code, log = validate(directory, bootstrap, Options(privileged_sockets=False))
    assert code == 0, log


def test_chains_and_sockets_of_tls_contexts_load(directory):
    tls = "envoy.extensions.transport_sockets.tls.v3."
    certificates = [{"name": "s", "sds_config": resources.agent_source()}]
    common = {"common_tls_context": {"tls_certificate_sds_secret_configs": certificates}}
    contexts = TlsContexts(
        ingress={"server": from_dict(tls + "DownstreamTlsContext", common)},
        upstream={"client": from_dict(tls + "UpstreamTlsContext", {"sni": "example.com"})},
    )
    bootstrap = with_resources([LISTENERS["http ingress"]])
    code, log = validate(directory, bootstrap, Options(privileged_sockets=False, contexts=contexts))
    assert code == 0, log


@pytest.mark.parametrize("transport", ["GRPC", "DELTA_GRPC", None])
def test_bootstraps_load(directory, transport):
    options = {"ads": transport, "source": resources.ads_source()} if transport else {}
    bootstrap = read_bootstrap(json.dumps(resources.bootstrap("/run/agent.sock", "/run/admin.sock", **options)))
    code, log = validate(directory, bootstrap, Options())
    assert code == 0, log


def test_bpf_maps_are_configured_as_the_agent_says(directory):
    node = dataclasses.replace(NODE, bpf=resources.Agent().bpf)
    code, log = validate(directory, with_resources([node.http(ingress=True)]), Options(privileged_sockets=False))
    assert code == 0, log
