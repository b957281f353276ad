"""TCP proxies behind websocket filters."""

import pytest
from tests.agent import resources

from cilium_proxy import api
from cilium_proxy.rewrite.cilium import RewriteError

_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def listener(*filters):
    chain = {"filters": list(filters)}
    return api.from_dict("envoy.config.listener.v3.Listener", {"name": "a", "filter_chains": [chain]})


def proxy(**options):
    return resources.extension("tcp", _TCP_PROXY, stat_prefix="tcp", cluster="a", **options)


def early_data(rewritten):
    return api.unpack(rewritten.message.filter_chains[0].filters[-1].typed_config).max_early_data_bytes.value


@pytest.mark.parametrize("message", ["cilium.WebSocketClient", "cilium.WebSocketServer"])
def test_the_proxy_behind_a_websocket_takes_data_before_it_is_connected(made, message):
    after = made(listener(resources.extension("websocket", message, host="host"), proxy()))
    assert early_data(after) == 1 << 16


def test_an_amount_that_is_set_stays(made):
    websocket = resources.extension("websocket", "cilium.WebSocketServer")
    assert early_data(made(listener(websocket, proxy(max_early_data_bytes=10)))) == 10


def test_other_proxies_stay_as_they_are(made):
    assert early_data(made(listener(resources.extension("network", "cilium.NetworkFilter"), proxy()))) == 0


def test_a_proxy_that_does_not_parse_is_refused(made):
    broken = listener(resources.extension("websocket", "cilium.WebSocketServer"), proxy())
    broken.filter_chains[0].filters[1].typed_config.value = b"\xff"
    with pytest.raises(RewriteError):
        made(broken)
