"""HTTP requests through this proxy, plain Envoy, Envoy's RBAC filter, HAProxy and nginx, all with the same ten-rule check."""
