"""What leaves the control plane: policies to the module over the policy channel, configuration to Envoy over xDS.

Envelopes, versions, acknowledgements; no resource is opened here. Where state comes from: `cilium_proxy.sources`.
"""
