"""Where the proxy's state comes from. `files` reads proxy.yaml and policies; nothing here talks to Envoy."""
