"""What users test with: conformance vectors, policy cases and the pytest plugin. Nothing here runs in the proxy."""
