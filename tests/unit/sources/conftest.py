import pytest

PROXY = """\
endpoints:
  - {name: api, labels: {app: api}, ips: [127.0.0.2]}
identities:
  - {name: client, labels: {app: client}, cidrs: [127.0.0.3/32]}
listeners:
  - {name: api-in, direction: ingress, address: "127.0.0.2:18080", endpoint: api, upstream: "127.0.0.1:19000"}
policies: [policies/]
"""
POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: rule}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts:
        - ports: [{port: "18080", protocol: TCP}]
          rules: {http: [{method: GET, path: /public}]}
"""


@pytest.fixture
def proxy(tmp_path):
    """A directory with proxy.yaml and policies/rule.yaml."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/rule.yaml").write_text(POLICY)
    (tmp_path / "proxy.yaml").write_text(PROXY)
    return tmp_path
