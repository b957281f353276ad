from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cilium_proxy.cli import group

EXAMPLE = Path(__file__).parents[3] / "examples/policy-tests"

CONFIG = """
endpoints:
  - {name: api, labels: {app: api}, ips: [127.0.0.2]}
identities:
  - {name: web, labels: {app: web}, cidrs: [127.0.0.3/32]}
listeners:
  - {name: in, direction: ingress, address: "127.0.0.2:8080", endpoint: api, upstream: "127.0.0.2:9000"}
policies: [policies/]
"""
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET, path: "/public/.*"}]}}]
    - fromEndpoints: [{matchLabels: {app: batch}}]
      toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a configuration and a policy."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "proxy.yaml").write_text(CONFIG)
    (tmp_path / "policies/api.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def run() -> Callable[..., Result]:
    """The command line."""

    def command(*arguments: object, stdin: str = "") -> Result:
        result = CliRunner().invoke(group, [str(argument) for argument in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return command
