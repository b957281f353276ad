"""HTTP through this proxy, plain Envoy, Envoy's RBAC filter, HAProxy and nginx, with the same ten-rule check."""
