"""proxy.yaml and a policy, and requests to the proxy that they make."""

import json
import re
import textwrap
from pathlib import Path

import httpx
from tests.integration.addresses import CLIENT, STRANGER, free_port

LIMIT = 30.0
PAGE = Path(__file__).parents[2] / "docs/policies.md"

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {name}}}
spec:
  endpointSelector: {{matchLabels: {{app: api}}}}
  ingress:
    - fromEndpoints: [{{matchLabels: {{app: client}}}}]
      toPorts:
        - ports: [{{port: "{port}", protocol: TCP}}]
{rules}
"""


def http_rule(**fields):
    """The `rules` of a toPorts entry with one HTTP rule."""
    return "          rules: {http: [" + json.dumps(fields) + "]}"


def example(protocol):
    """The rules that docs/policies.md shows for a protocol, as they stand in a policy."""
    page = PAGE.read_text()
    (rules,) = re.findall(rf"### {protocol}\n\n```yaml\n(.*?)```", page, re.DOTALL)
    return textwrap.indent(rules.rstrip(), 10 * " ")


class Files:
    """proxy.yaml with one listener, and one policy."""

    def __init__(self, directory, host, upstream_port, protocol="http", port=None):
        self.directory, self.host = directory, host
        self.port, self.admin_port = port or free_port(host), free_port()
        self.upstream = f"[::1]:{upstream_port}" if ":" in host else f"127.0.0.1:{upstream_port}"
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.url = f"http://{self.address}"
        self.source = "::1" if ":" in host else CLIENT
        self.path = directory / "proxy.yaml"
        self.log = directory / "access.log"
        self.settings = {
            "endpoints": [{"name": "api", "labels": {"app": "api"}, "ips": ["10.99.0.1", "fd99::1"]}],
            "identities": [
                {"name": "client", "labels": {"app": "client"}, "cidrs": [f"{CLIENT}/32", "::1/128"]},
                {"name": "stranger", "labels": {"app": "stranger"}, "cidrs": [f"{STRANGER}/32"]},
            ],
            "listeners": [
                {
                    "name": "api-in",
                    "direction": "ingress",
                    "address": self.address,
                    "endpoint": "api",
                    "upstream": self.upstream,
                    "protocol": protocol,
                }
            ],
            "policies": ["policies/"],
            "access_log": {"file": "access.log", "format": "json"},
            "admin": f"127.0.0.1:{self.admin_port}",
            "concurrency": 2,
            "drain_time": 0,
        }
        (directory / "policies").mkdir()
        self.save()

    def save(self):
        self.path.write_text(json.dumps(self.settings))

    def policy(self, rules="", name="rule"):
        """Writes the policy as editors do: whole, under another name, then renamed."""
        fresh = self.directory / "fresh"
        fresh.write_text(POLICY.format(name=name, port=self.port, rules=rules))
        fresh.rename(self.directory / f"policies/{name}.yaml")

    def entries(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def client(self, source=None, **options):
        transport = httpx.HTTPTransport(local_address=source or self.source, **options)
        return httpx.Client(transport=transport, base_url=self.url, timeout=LIMIT)
