"""HTTP to hosts that load balancing chose: every attempt is judged by the host it would go to."""

from tests.integration import balancer
from tests.integration.balancer import BAD, BAD_ID, BALANCER, CLIENT, CLIENT_ID, GOOD, GOOD_ID

from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http import exchange


def request(path="/"):
    return [[":method", "GET"], [":path", path], [":authority", "host"]]


def only_path(path, remote=GOOD_ID):
    rules = [{"headers": [{"name": ":path", "exact_match": path}]}]
    return [{"remote_policies": [remote], "http_rules": {"http_rules": rules}}]


def kinds(proxy):
    return [entry.entry_type for entry in proxy.proxy.entries]


async def test_a_request_reaches_an_allowed_host_and_is_logged_once():
    async with balancer.server(GOOD, http=200) as host, balancer.start(host, protocol="http") as proxy:
        status, _ = await exchange(proxy.address, request())
        assert status == 200
        entry = await proxy.entry("Request")
        assert (entry.policy_name, entry.destination_security_id) == (BALANCER, GOOD_ID)
        assert entry.destination_address == f"{GOOD}:{host.port}"
        assert await proxy.entry("Response")
        assert kinds(proxy) == [0, 1]


async def test_nothing_reaches_a_host_whose_identity_is_denied():
    async with balancer.server(BAD, http=200) as host, balancer.start(host, protocol="http") as proxy:
        assert await exchange(proxy.address, request()) == (403, "Access denied\r\n")
        entry = await proxy.entry("Denied")
        assert (entry.policy_name, entry.destination_security_id, entry.http.path) == (BALANCER, BAD_ID, "/")
        assert (await proxy.entry("Response")).http.status == 403
        assert host.received == b""


async def test_the_clients_identity_is_judged_by_the_balancers_ingress_policy():
    own = balancer.balancer(ingress=[{"remote_policies": [CLIENT_ID + 1]}])
    async with (
        balancer.server(GOOD, http=200) as host,
        balancer.start(host, protocol="http", policies=[own]) as proxy,
    ):
        assert (await exchange(proxy.address, request()))[0] == 403
        assert host.received == b""


async def test_http_rules_of_both_directions_of_the_balancers_policy_count():
    open_inside = [{"remote_policies": [CLIENT_ID]}]
    for rules in ({"ingress": only_path("/a", CLIENT_ID)}, {"ingress": open_inside, "egress": only_path("/a")}):
        async with (
            balancer.server(GOOD, http=200) as host,
            balancer.start(host, protocol="http", policies=[balancer.balancer(**rules)]) as proxy,
        ):
            assert (await exchange(proxy.address, request("/b")))[0] == 403
            assert host.received == b""
            assert (await exchange(proxy.address, request("/a")))[0] == 200


async def test_a_local_pods_egress_policy_comes_first():
    pod = balancer.policy(CLIENT, 7, egress=only_path("/pod"))
    async with (
        balancer.server(GOOD, http=200) as host,
        balancer.start(host, protocol="http", policies=[pod, balancer.balancer()]) as proxy,
    ):
        assert (await exchange(proxy.address, request("/other")))[0] == 403
        assert (await proxy.entry("Denied")).policy_name == CLIENT
        assert (await exchange(proxy.address, request("/pod")))[0] == 200


async def test_a_retry_is_judged_by_its_own_host():
    route = {
        "retry_policy": {
            "retry_on": "5xx",
            "num_retries": 8,
            "retry_host_predicate": [
                {
                    "name": "previous",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 10,
        }
    }
    async with (
        balancer.server(GOOD, http=503) as good,
        balancer.server(BAD, http=200) as bad,
        balancer.start(good, bad, protocol="http", route=route) as proxy,
    ):
        seen = [(await exchange(proxy.address, request()))[0] for _ in range(4)]
        assert seen == [403] * 4
        assert good.received
        assert bad.received == b""


async def test_mirrored_requests_are_neither_judged_nor_logged():
    route = {"request_mirror_policies": [{"cluster": "mirror"}]}
    async with (
        balancer.server(GOOD, http=200) as host,
        balancer.server(BAD, http=200) as mirror,
        balancer.start(host, protocol="http", route=route, others={"mirror": mirror}) as proxy,
    ):
        assert (await exchange(proxy.address, request()))[0] == 200
        assert await http_proxy.eventually(lambda: mirror.received)
        assert await proxy.entry("Response")
        assert kinds(proxy) == [0, 1]


async def test_a_cluster_without_the_filter_gives_no_answers_of_denied_hosts():
    async with balancer.server(BAD, http=200) as host, balancer.start(host, protocol="http", bare=True) as proxy:
        assert (await exchange(proxy.address, request()))[0] == 403
        assert (await proxy.entry("Denied")).http.path == "/"
        assert (await proxy.entry("Response")).http.status == 403
