"""Certificates of the cases' own: one CA, and certificates of the proxy and the upstream for `localhost`."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from cilium_proxy.testing.vectors.result import UnusableError

NAME = "localhost"


class Certificates:
    """PEM files below a directory. Needs the `openssl` command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._issue("ca", [])
        for name in ("proxy", "upstream"):
            self._issue(name, ["-CA", "ca.pem", "-CAkey", "ca.key"])

    def _issue(self, name: str, by: list[str]) -> None:
        names = [] if name == "ca" else ["-addext", f"subjectAltName=DNS:{NAME}"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={name}", *names, *by]
        try:
            subprocess.run(
                [*command, "-keyout", f"{name}.key", "-out", f"{name}.pem"],
                cwd=self.directory,
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise UnusableError(f"certificates need openssl 3: {error}") from error

    def pem(self, file: str) -> str:
        """The text of one of the files, such as `ca.pem`."""
        return (self.directory / file).read_text()

    def server(self, name: str) -> ssl.SSLContext:
        """For the server that has this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        return context

    def client(self) -> ssl.SSLContext:
        """For a client that trusts the CA."""
        return ssl.create_default_context(cafile=str(self.directory / "ca.pem"))

    def replaced(self, text: str) -> str:
        """The text with placeholders such as `<PEM:server_cert>`, in JSON strings, replaced."""
        for place, file in (
            ("server_cert", "proxy.pem"),
            ("server_key", "proxy.key"),
            ("upstream_ca", "ca.pem"),
        ):
            text = text.replace(f"<PEM:{place}>", self.pem(file).replace("\n", "\\n"))
        return text
