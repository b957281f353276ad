"""TLS that policy chooses: what has no context, or no verdict, goes nowhere."""

from tests.integration.files import LIMIT

from cilium_proxy import api
from cilium_proxy.relay.channel import TLS
from cilium_proxy.relay.policy_references import references
from cilium_proxy.rewrite.cilium import Options, rewrite_message
from cilium_proxy.testing.vectors import http_proxy
from cilium_proxy.testing.vectors.http_proxy import IPV4
from cilium_proxy.testing.vectors.result import Result
from cilium_proxy.testing.vectors.tcp import TlsCase
from cilium_proxy.testing.vectors.tcp_peer import Peer

SECRET = b"nobody may read this"
HANDSHAKE = 0x16


def document(remote=1):
    """An upstream that TLS is opened to, and a client whose TLS ends here, for one identity."""
    rule = {
        "remote_policies": [remote],
        "upstream_tls_context": {"trusted_ca": "<PEM:upstream_ca>"},
        "downstream_tls_context": {"certificate_chain": "<PEM:server_cert>", "private_key": "<PEM:server_key>"},
    }
    policy = {
        "endpoint_ips": [IPV4],
        "endpoint_id": 42,
        "ingress_per_port_policies": [{"port": 18080, "rules": [rule]}],
    }
    return {"policies": {"tls": {"resources": [policy]}}}


class PlainUpstream(TlsCase):
    """The upstream keeps the bytes as they come."""

    def _upstream(self, connection):
        return Peer(connection)


class NoContexts(PlainUpstream):
    """The module believes that Envoy has the contexts of the policy. It has none."""

    def _proxy(self):
        return http_proxy.start(
            lambda log: [self._rewritten(self._listener(log))],
            lambda _log: [
                api.to_dict(self._rewritten(api.from_dict("envoy.config.cluster.v3.Cluster", self._cluster())))
            ],
        )

    async def _rest(self, proxy):
        uses = references(next(iter(http_proxy.policies(self.policies).values()))).uses
        return await proxy.publish(TLS, {use.context.name: b"" for use in uses})

    def _rewritten(self, resource):
        rewrite_message(resource, Options(privileged_sockets=False))
        return resource


async def first_bytes(made, directory):
    steps = [
        {"do": "client_connect"},
        {"do": "client_send", "data": {"hex": SECRET.hex()}},
        {"expect": "upstream_connected"},
    ]
    case = {"kind": "tls_origination", "policy": "tls", "is_ingress": True, "steps": steps}
    result = Result("bytes")
    seen = []

    class Case(made):
        async def _step(self, proxy, step):
            difference = await super()._step(proxy, step)
            if step is steps[-1] and difference is None:
                upstream = self.peers["upstream"]
                await http_proxy.eventually(lambda: upstream.received, LIMIT)
                seen.append(bytes(upstream.received))
            return difference

    await Case(document(), case, result, directory).run()
    assert result.failures == []
    return seen[0]


async def test_policy_opens_tls_to_the_upstream(directory):
    received = await first_bytes(PlainUpstream, directory)
    assert received[0] == HANDSHAKE
    assert SECRET not in received


async def test_a_context_that_envoy_does_not_know_never_means_plaintext(directory):
    received = await first_bytes(NoContexts, directory)
    assert received[0] == HANDSHAKE
    assert SECRET not in received


async def test_a_tls_client_that_policy_refuses_is_closed_and_counted(directory):
    steps = [{"do": "client_connect_tls"}, {"expect": "client_disconnect"}]
    case = {"kind": "tls_termination", "policy": "tls", "is_ingress": True, "steps": steps}
    result = Result("refused")
    counts = []

    class Case(TlsCase):
        async def _step(self, proxy, step):
            difference = await super()._step(proxy, step)
            if step is steps[-1]:
                counts.append(await proxy.stat("cilium.policy.tls_wrapper_missing_policy"))
            return difference

    await Case(document(remote=999), case, result, directory).run()
    assert result.failures == []
    assert counts == [1]
