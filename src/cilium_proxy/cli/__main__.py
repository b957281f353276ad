"""`python -m cilium_proxy.cli`."""

from cilium_proxy.cli import main

main()
