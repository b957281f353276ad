"""The same policies in pytest. Run in examples/policy-tests: pytest"""

from cilium_proxy.testing.policies import Policies


def test_the_shop_reads_what_it_finds(cilium_policies: Policies) -> None:
    """Items by number and in lists, with any query."""
    for item in ("1", "all", "all?page=2"):
        cilium_policies.allowed("shop", "api", f"GET /items/{item}")


def test_orders_are_for_the_shop(cilium_policies: Policies) -> None:
    """Partners read, and order elsewhere."""
    cilium_policies.allowed("shop", "api", "POST /orders")
    verdict = cilium_policies.denied("partner", "api", "POST /orders")
    assert "default/api/ingress" in str(verdict.rule)
