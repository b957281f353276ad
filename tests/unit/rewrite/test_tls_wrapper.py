"""TLS by policy: chains and sockets that fail closed."""

import pytest
from tests.agent import resources

from cilium_proxy import api
from cilium_proxy.rewrite.cilium import Options, RewriteError, TlsContexts

AGENT = resources.Agent()
TLS = "envoy.extensions.transport_sockets.tls.v3."
DOWNSTREAM = api.from_dict(TLS + "DownstreamTlsContext", {"require_client_certificate": True})
UPSTREAM = api.from_dict(TLS + "UpstreamTlsContext", {"sni": "example.com"})
CONTEXTS = Options(contexts=TlsContexts(ingress={"server": DOWNSTREAM}, upstream={"client": UPSTREAM}))


def protocols(listener):
    return [chain.filter_chain_match.transport_protocol for chain in listener.filter_chains]


def test_a_wrapped_chain_becomes_raw(made):
    after = made(AGENT.tcp()).message
    assert protocols(after) == ["raw_buffer", "tls", "raw_buffer", "raw_buffer", "cilium:refused"]
    assert not any(chain.HasField("transport_socket") for chain in after.filter_chains)


def test_chains_that_match_all_are_bound_to_what_envoy_detects(made):
    # Else connections for contexts nobody knows would be served raw by them.
    assert protocols(made(AGENT.http(ingress=True)).message) == ["raw_buffer", "tls", "cilium:refused"]


def test_each_context_has_a_chain_that_its_verdict_selects(made):
    after = made(AGENT.http(ingress=True), CONTEXTS).message
    assert protocols(after) == ["raw_buffer", "tls", "cilium:server", "cilium:refused"]
    plain, raw, tls, refused = after.filter_chains
    assert not any(chain.HasField("transport_socket") for chain in (plain, raw, refused))
    assert api.unpack(tls.transport_socket.typed_config) == DOWNSTREAM
    assert [item.name for item in tls.filters] == [item.name for item in raw.filters]


def test_contexts_of_the_other_direction_get_no_chain(made):
    assert protocols(made(AGENT.http(ingress=False), CONTEXTS).message) == ["raw_buffer", "tls", "cilium:refused"]


def test_a_handshake_has_a_time_limit(made):
    for chain in made(AGENT.http(ingress=True), CONTEXTS).message.filter_chains:
        assert chain.transport_socket_connect_timeout.seconds == (10 if chain.HasField("transport_socket") else 0)


def test_a_refused_connection_meets_the_network_filter_and_nothing_that_goes_on(made):
    refused = made(AGENT.http(ingress=True)).message.filter_chains[-1]
    assert [item.name for item in refused.filters] == ["cilium.network", "envoy.filters.network.direct_response"]


def test_a_chain_without_a_wrapped_one_beside_it_serves_all_that_is_detected(made):
    listener = AGENT.tcp()
    other = listener.filter_chains.add(name="other")
    other.filter_chain_match.server_names.append("example.com")
    after = made(listener).message
    assert protocols(after)[-3:-1] == ["raw_buffer", "tls"]
    names = [chain.name for chain in after.filter_chains if chain.name]
    assert len(set(names)) == 2


def test_listeners_without_wrapper_keep_their_chains(made):
    assert protocols(made(AGENT.gateway()).message) == ["raw_buffer"]


def shared(config, field):
    (value,) = getattr(api.unpack(config), field)
    assert value.factory_key == "envoy.hashable_string"
    assert value.skip_if_empty
    return value.format_string.text_format_source.inline_string


def test_a_connection_s_verdict_is_shared_with_upstream_connections(made):
    for chain in made(AGENT.tcp()).message.filter_chains[:2]:
        assert [item.name for item in chain.filters][:2] == ["cilium.network", "envoy.filters.network.set_filter_state"]
        key = shared(chain.filters[1].typed_config, "on_new_connection")
        assert key == "%FILTER_STATE(cilium.tls.upstream:PLAIN)%"


def test_a_request_s_verdict_is_shared_with_upstream_connections(made, carried):
    # Policy may change between two requests of a connection.
    plain, tls, *_ = made(AGENT.http(ingress=True)).message.filter_chains
    assert [item.name for item in plain.filters][1] == "envoy.filters.network.set_filter_state"
    assert len(tls.filters) == 2
    policy, share, _ = api.unpack(tls.filters[1].typed_config).http_filters
    _, config = carried(policy.typed_config)
    assert api.messages("cilium.L7Policy").FromString(config).upstream_tls
    key = shared(share.typed_config, "on_request_headers")
    assert key == "%FILTER_STATE(cilium.tls.upstream.request:PLAIN)%"


def cluster(**fields):
    wrapper = resources.extension("cilium.tls_wrapper", "cilium.UpstreamTlsWrapperContext")
    return api.from_dict("envoy.config.cluster.v3.Cluster", {"name": "a", "transport_socket": wrapper, **fields})


def selected(after):
    tree = after.transport_socket_matcher.matcher_tree.exact_match_map.map
    actions = {verdict: api.unpack(match.action.typed_config).name for verdict, match in tree.items()}
    actions[None] = api.unpack(after.transport_socket_matcher.on_no_match.action.typed_config).name
    sockets = {match.name: match.transport_socket for match in after.transport_socket_matches}
    return {verdict: api.unpack(sockets[name].typed_config) for verdict, name in actions.items()}


def test_an_upstream_socket_is_raw_on_the_verdict_raw_only(made):
    sockets = selected(made(cluster()).message)
    assert sockets["raw"].DESCRIPTOR.name == "RawBuffer"
    assert {socket.DESCRIPTOR.name for verdict, socket in sockets.items() if verdict != "raw"} == {"UpstreamTlsContext"}


def test_an_upstream_socket_without_verdict_accepts_no_certificate(made):
    after = made(cluster()).message
    assert not after.HasField("transport_socket")
    refusing = selected(after)[None].common_tls_context.validation_context
    assert list(refusing.verify_certificate_hash) == ["00" * 32]


def test_each_context_has_an_upstream_socket(made):
    assert selected(made(cluster(), CONTEXTS).message)["client"] == UPSTREAM


@pytest.mark.parametrize("place", ["default_filter_chain", "both"])
def test_listeners_whose_chains_are_not_chosen_by_match_are_refused(made, place):
    listener = AGENT.tcp()
    wrapped = listener.filter_chains[1]
    listener.default_filter_chain.CopyFrom(wrapped)
    if place == "both":
        listener.default_filter_chain.ClearField("transport_socket")
    with pytest.raises(RewriteError, match=r"cilium\.tls_wrapper"):
        made(listener)


def test_clusters_that_pick_sockets_already_are_refused(made):
    with pytest.raises(RewriteError, match="transport_socket_matches"):
        made(cluster(transport_socket_matches=[{"name": "a", "match": {}}]))


def test_wrappers_elsewhere_are_refused(made):
    matches = [
        {
            "name": "a",
            "match": {},
            "transport_socket": resources.extension("cilium.tls_wrapper", "cilium.UpstreamTlsWrapperContext"),
        }
    ]
    plain = api.from_dict("envoy.config.cluster.v3.Cluster", {"name": "a", "transport_socket_matches": matches})
    with pytest.raises(RewriteError, match=r"transport_socket_matches\[a\].*cilium\.tls_wrapper is not supported here"):
        made(plain)
