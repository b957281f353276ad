"""The deathstar: a small HTTP service that answers whatever it is asked. It relies on the proxy in front of it."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Deathstar(BaseHTTPRequestHandler):
    """Serves two paths, one of which nobody should ever reach."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Landing requests."""
        self._answer(200 if self.path == "/v1/request-landing" else 404, "Ship landed\n")

    def do_PUT(self) -> None:
        """The weakness."""
        self._answer(200 if self.path == "/v1/exhaust-port" else 404, "Panic: deathstar exploded\n")

    def do_GET(self) -> None:
        """What the service offers."""
        self._answer(200, "POST /v1/request-landing\nPUT /v1/exhaust-port\n")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The proxy's access log is enough."""


if __name__ == "__main__":
    address, _, port = sys.argv[1].rpartition(":")
    ThreadingHTTPServer((address, int(port)), Deathstar).serve_forever()
