"""Sockets of listeners, contrib filters, health checks."""

import socket
from pathlib import Path

import pytest
from tests.agent import resources

from cilium_proxy import api
from cilium_proxy.rewrite.cilium import Options, RewriteError
from cilium_proxy.rewrite.cilium.health_check import fifo_path
from cilium_proxy.supervisor.health_events import HealthEvents

AGENT = resources.Agent()
PRIVATE = 0x43494C


def options(listener):
    return [(one.level, one.name, one.int_value, one.state) for one in listener]


def expected(mark):
    return [(PRIVATE, 2, mark, 0), (PRIVATE, 4, 1, 0), (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1, 0)]


@pytest.mark.parametrize(("ingress", "mark"), [(True, 0x0A00), (False, 0x0B00)])
def test_listen_sockets_are_marked_transparent_and_reuse_addresses(made, ingress, mark):
    assert options(made(AGENT.http(ingress)).message.socket_options) == expected(mark)


def test_socket_options_of_the_agent_stay(made):
    listener = made(AGENT.gateway()).message
    assert options(listener.socket_options)[:4] == [(1, 9, 1, 0), (6, 4, 10, 0), (6, 5, 5, 0), (6, 6, 10, 0)]
    assert options(listener.socket_options)[4:] == expected(0x0B00)


def test_additional_addresses_with_options_of_their_own_get_them_too(made):
    listener = AGENT.http(ingress=True)
    listener.additional_addresses[0].socket_options.socket_options.add(level=1, name=9, int_value=1)
    after = made(listener).message.additional_addresses[0].socket_options.socket_options
    assert options(after)[1:] == expected(0x0A00)


def test_additional_addresses_without_options_take_those_of_the_listener(made):
    assert not made(AGENT.http(ingress=True)).message.additional_addresses[0].HasField("socket_options")


def test_without_privileges_sockets_only_reuse_addresses(made):
    after = made(AGENT.http(ingress=True), Options(privileged_sockets=False)).message
    assert options(after.socket_options) == expected(0)[2:]


def test_listeners_without_the_metadata_filter_get_no_options(made):
    listener = AGENT.http(ingress=True)
    del listener.listener_filters[1]
    assert not made(listener).message.socket_options


def test_udp_listeners_are_marked_and_have_no_metadata_filter(made):
    listener = AGENT.http(ingress=False)
    listener.address.socket_address.protocol = 1
    after = made(listener).message
    assert [item.name for item in after.listener_filters] == ["envoy.filters.listener.tls_inspector"]
    assert options(after.socket_options) == expected(0x0B00)


def test_a_metadata_filter_that_does_not_parse_is_refused(made):
    listener = AGENT.http(ingress=True)
    listener.listener_filters[1].typed_config.value = b"\xff"
    with pytest.raises(RewriteError, match=r"listener_filters.*cilium\.BpfMetadata"):
        made(listener)


def test_mysql_is_left_out_with_a_warning_and_the_chain_stays(made):
    after = made(AGENT.tcp())
    chain = next(chain for chain in after.message.filter_chains if "mysql" in str(chain.filter_chain_match))
    assert chain.filters[0].name == "cilium.network"
    (warning,) = after.warnings
    assert "envoy.filters.network.mysql_proxy" in warning


def checked(path):
    sink = resources.extension("cilium.health_check.event_sink.pipe", "cilium.HealthCheckEventPipeSink", path=path)
    check = {
        "timeout": "1s",
        "interval": "1s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "tcp_health_check": {},
        "event_logger": [sink],
    }
    return api.from_dict("envoy.config.cluster.v3.Cluster", {"name": "a", "health_checks": [check]})


def test_health_events_without_a_reader_are_left_out_with_a_warning(made):
    after = made(checked("/run/health.sock"))
    assert not after.message.health_checks[0].event_logger
    assert "/run/health.sock" in after.warnings[0]


def test_health_events_go_to_the_fifo_of_their_socket(made, tmp_path):
    after = made(checked("/run/health.sock"), Options(health_events=HealthEvents(tmp_path)))
    sink = api.unpack(after.message.health_checks[0].event_logger[0].typed_config)
    assert sink.event_log_path == str(fifo_path(tmp_path, "/run/health.sock"))
    assert Path(sink.event_log_path).is_fifo()
    assert after.warnings == ()


def test_a_health_sink_without_path_is_refused(made):
    with pytest.raises(RewriteError, match="needs the path"):
        made(checked(""))


def test_a_health_sink_whose_fifo_cannot_be_made_is_refused(made, tmp_path):
    with pytest.raises(RewriteError, match="no FIFO"):
        made(checked("/run/health.sock"), Options(health_events=HealthEvents(tmp_path / "absent")))
