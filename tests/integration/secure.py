"""proxy.yaml and a policy with TLS, and both ends of its connections."""

import base64
import json

from tests import admin, tls
from tests.certificates import authority
from tests.integration.addresses import free_port
from tests.integration.files import Files

from cilium_proxy.config import Address

CERTIFICATE = authority().issue(tls.NAME, "other.test")
TERMINATING = {"terminatingTLS": {"secret": {"name": "web"}}}
ORIGINATING = {"originatingTLS": {"secret": {"name": "servers"}}}
PUBLIC = {"rules": {"http": [{"method": "GET", "path": "/public"}]}}


class SecureFiles(Files):
    """As `Files`, with a listener that looks for TLS and secrets for it."""

    def __init__(self, directory, host, protocol="http", **listener):
        self.upstream_host = "::1" if ":" in host else "127.0.0.1"
        self.upstream_port = free_port(self.upstream_host)
        super().__init__(directory, host, self.upstream_port, protocol)
        self.settings["listeners"][0] |= {"tls": True, **listener}
        self.settings["secrets"] = {
            "web": {"tls.crt": "web.pem", "tls.key": "web.key"},
            "servers": {"ca.crt": "servers.pem"},
        }
        self.connections = []
        CERTIFICATE.write(directory, "web")
        self.ca(authority().pem)
        self.save()

    def ca(self, pem):
        (self.directory / "servers.pem").write_text(pem)

    def rules(self, *entries):
        """The policy's `toPorts`, all for the listener's port and the client."""
        ports = {"ports": [{"port": str(self.port), "protocol": "TCP"}]}
        policy = {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "rule"},
            "spec": {
                "endpointSelector": {"matchLabels": {"app": "api"}},
                "ingress": [
                    {
                        "fromEndpoints": [{"matchLabels": {"app": "client"}}],
                        "toPorts": [{**ports, **entry} for entry in entries],
                    }
                ],
            },
        }
        self._write("rule", policy)

    def manifest(self, name, **items):
        """A Kubernetes Secret among the policies."""
        data = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in items.items()}
        self._write(name, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})

    def _write(self, name, document):
        fresh = self.directory / "fresh"
        fresh.write_text(json.dumps(document, indent=1))
        fresh.rename(self.directory / f"policies/{name}.json")

    def upstream_server(self, context=None):
        """A server, with TLS if it has a context."""
        return tls.Upstream(self.upstream_host, self.upstream_port, context)

    def secure_server(self, certificate=CERTIFICATE):
        return self.upstream_server(tls.server_context(certificate, self.directory))

    async def connect(self, name=tls.NAME, context=None, source=None):
        """A TLS client's connection; None: it was closed."""
        return self._keep(await tls.connect((self.host, self.port), source or self.source, context or trusting(), name))

    async def connect_plain(self):
        return self._keep(await tls.connect((self.host, self.port), self.source))

    def _keep(self, connection):
        if connection is not None:
            self.connections.append(connection)
        return connection

    async def close(self):
        for connection in self.connections:
            await connection.close()

    async def stat(self, name):
        return await admin.statistic(Address("127.0.0.1", self.admin_port), name)


def trusting(*alpn):
    """A client's context."""
    context = tls.client_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    return context
