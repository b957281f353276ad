from pathlib import Path

from tests.unit.observe.conftest import MakeEntry

from cilium_proxy.config import load
from cilium_proxy.observe import CompactPrinter, Names
from cilium_proxy.policy.compile import compile_policies, load_policies

CONFIG = """
endpoints:
  - {name: api, labels: {app: api}, ips: [127.0.0.2, "::2"]}
identities:
  - {name: frontend, labels: {app: frontend}, cidrs: [127.0.0.3/32]}
listeners:
  - {name: api-in, direction: ingress, address: 127.0.0.1:8080, endpoint: api, upstream: 127.0.0.1:9000}
policies: [policy.yaml]
"""

POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromCIDR: [10.0.0.0/8]
"""


def test_the_configuration_names_endpoints_identities_and_prefixes(tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text(POLICY)
    config = load(tmp_path / "proxy.yaml")
    compiled = compile_policies(config, load_policies(list(config.policies)))
    names = Names.of(config, compiled.identities)
    assert (names.of_endpoint("127.0.0.2"), names.of_endpoint("::2"), names.of_endpoint("::3")) == ("api", "api", "::3")
    frontend = compiled.identities.named("frontend")
    assert frontend is not None
    prefix = compiled.identities.resolve("10.1.2.3")
    assert (names.identities[frontend.number], names.identities[prefix]) == ("frontend", "10.0.0.0/8")


def test_identities_in_reasons_get_their_names(make_entry: MakeEntry) -> None:
    reason = 'port 80: identity 258 is not among the remotes of rule "identity 258", identity 999, identity 2'
    line = CompactPrinter(Names({258: "xwing"}, {}))(make_entry(entry_type="Denied", cilium_rule_ref=reason))
    assert line.endswith(
        'port 80: identity 258 (xwing) is not among the remotes of rule "identity 258", '
        "identity 999, identity 2 (world)"
    )
