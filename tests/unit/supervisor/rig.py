"""A real Envoy, on a configuration without the module."""

import json
import socket

from cilium_proxy.supervisor.backoff import Backoff
from cilium_proxy.supervisor.command import envoy_command
from cilium_proxy.supervisor.envoy import Launch
from cilium_proxy.supervisor.record import Record
from cilium_proxy.supervisor.supervisor import Supervisor

MANAGER = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix": "test",
    "route_config": {
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [
                    {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hi"}}}
                ],
            }
        ]
    },
    "http_filters": [
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }
    ],
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rig:
    """An Envoy with one listener. `arguments` are those of its user."""

    def __init__(self, directory):
        self.port = free_port()
        self.directory = directory
        self.admin = directory / "admin.sock"
        self.arguments = ["--parent-shutdown-time-s", "600"]
        self.bootstrap = {
            "admin": {"address": {"pipe": {"path": str(self.admin)}}},
            "static_resources": {"listeners": []},
        }
        self.listener("test", self.port)
        self.path = directory / "bootstrap.json"
        self.lines = []

    def listener(self, name, port):
        """Adds a listener, in place of one with that name."""
        listeners = self.bootstrap["static_resources"]["listeners"]
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        chain = {"filters": [{"name": "http", "typed_config": MANAGER}]}
        others = [one for one in listeners if one["name"] != name]
        listeners[:] = [*others, {"name": name, "address": address, "filter_chains": [chain]}]

    def supervisor(self, drain_time=0.0, backoff=None):
        return Supervisor(
            self.launch,
            lambda: self.arguments,
            Record(self.directory / "envoy.json"),
            drain_time=drain_time,
            backoff=backoff or Backoff(first=0.01),
            log=lambda: self.lines.append,
        )

    def launch(self, generation):
        self.path.write_text(json.dumps(self.bootstrap))
        options = {"concurrency": 1, "log_level": "warning", "extra": self.arguments, "generation": generation}
        return Launch(envoy_command(self.path, **options).confined(), self.admin)


async def get(reader, writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    return head.lower()
