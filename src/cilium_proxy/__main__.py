"""`python -m cilium_proxy`."""

from cilium_proxy.cli import main

main()
