"""proxy.yaml: its model and its loader. Reads files only; opens no port, starts nothing.

config = load(Path("proxy.yaml"))      # raises ConfigError with every problem found
"""

from cilium_proxy.config.address import Address, parse_address
from cilium_proxy.config.load import ConfigError, load, parse_config
from cilium_proxy.config.model import (
    AccessLog,
    Config,
    Denied,
    Direction,
    Endpoint,
    EnvoyOptions,
    HttpOptions,
    Identity,
    Listener,
    Parsers,
    Protocol,
    SecretFile,
)

__all__ = [
    "AccessLog",
    "Address",
    "Config",
    "ConfigError",
    "Denied",
    "Direction",
    "Endpoint",
    "EnvoyOptions",
    "HttpOptions",
    "Identity",
    "Listener",
    "Parsers",
    "Protocol",
    "SecretFile",
    "load",
    "parse_address",
    "parse_config",
]
