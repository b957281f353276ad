"""Resources for stock Envoy. `cilium` turns an agent's resources into it, `standalone` makes them from proxy.yaml.

Messages in, messages out: no sockets, no files, no versions.
"""
