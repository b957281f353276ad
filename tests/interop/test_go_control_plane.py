"""The relay and go-control-plane's server, with real Envoy: all four kinds of xDS."""

import pytest
from tests.agent import resources
from tests.agent.conftest import POD
from tests.agent.double import CLUSTERS, HOSTS, LISTENERS, POLICIES
from tests.agent.test_traffic import PEERS, listening, status

pytestmark = pytest.mark.interop

DELTA = {
    **resources.agent_source(),
    "api_config_source": {**resources.agent_source()["api_config_source"], "api_type": "DELTA_GRPC"},
}
MODES = {
    "split": ("separate", {}),
    "delta": ("separate", {"source": DELTA}),
    "ads": ("aggregated", {"ads": "GRPC", "source": resources.ads_source()}),
    "delta-ads": ("aggregated", {"ads": "DELTA_GRPC", "source": resources.ads_source()}),
}


def policy(path):
    return {"7": resources.policy(POD, rules=[resources.path_rule(path, 43)])}


async def send_all(control_plane, node, path):
    """Sends all an agent sends; each is taken."""
    for url, found in (
        (HOSTS, PEERS),
        (POLICIES, policy(path)),
        (CLUSTERS, {"unused": resources.empty_cluster("unused")}),
        (LISTENERS, {"cilium-http-ingress": node.http(ingress=True)}),
    ):
        assert await control_plane.push(url, found) is None, url
    await listening(node)


@pytest.mark.parametrize("mode", MODES)
async def test_policies_and_listeners_are_in_force_when_they_are_acknowledged(
    control_plane, node, bootstrap, run, client, mode
):
    serves, options = MODES[mode]
    server = await control_plane(serves)
    proxy = run(bootstrap(**options))
    await send_all(server, node, "/public")
    assert await status(client(), "/public") == 200
    assert await status(client(), "/private") == 403
    assert await server.push(POLICIES, policy("/other")) is None
    assert await status(client(), "/public") == 403
    assert await status(client(), "/other") == 200
    assert proxy.status()["agent"]["transport"] == mode


@pytest.mark.parametrize("mode", MODES)
async def test_a_refused_policy_is_answered_with_the_engine_s_words(control_plane, node, bootstrap, run, client, mode):
    serves, options = MODES[mode]
    server = await control_plane(serves)
    run(bootstrap(**options))
    await send_all(server, node, "/public")
    bad = policy("/public")
    bad["7"].ingress_per_port_policies[0].port = 70_000
    assert "70000" in await server.push(POLICIES, bad)
    assert await status(client(), "/public") == 200


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_restarts_is_followed(control_plane, node, bootstrap, run, client, mode):
    serves, options = MODES[mode]
    server = await control_plane(serves)
    proxy = run(bootstrap(**options))
    await send_all(server, node, "/public")
    assert await server.push(POLICIES, policy("/public") | {"8": resources.policy("10.9.0.8", 8)}) is None
    await server.stop()
    assert await status(client(), "/public") == 200
    await server.start()
    await send_all(server, node, "/new")
    assert await status(client(), "/new") == 200
    assert await status(client(), "/public") == 403
    assert proxy.status()["policies"]["resources"] == 1
