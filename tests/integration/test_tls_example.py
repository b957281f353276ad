"""The example of docs/tls.md."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from tests import tls
from tests.integration.addresses import CLIENT, free_port
from tests.proxy_process import PROGRAM

EXAMPLE = Path(__file__).parents[2] / "examples/tls"
PORTS = {"8443": "127.0.0.2", "9443": "127.0.0.1", "10902": "127.0.0.1"}


@pytest.fixture
def example(directory):
    """A copy with ports that are free, and the ports."""
    path = directory / "tls"
    shutil.copytree(EXAMPLE, path, ignore=shutil.ignore_patterns("certificates"))
    ports = {number: str(free_port(host)) for number, host in PORTS.items()}
    for file in (path / "proxy.yaml", path / "policies/api.yaml"):
        text = file.read_text()
        for number, port in ports.items():
            text = text.replace(number, port)
        file.write_text(text)
    return path, ports


class Files:
    """What `run` starts."""

    def __init__(self, directory):
        self.directory, self.path = directory, directory / "proxy.yaml"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
async def test_the_example_runs(example, run):
    path, ports = example
    subprocess.run([path / "certificates.sh"], check=True, capture_output=True)
    checked = subprocess.run([*PROGRAM, "check"], cwd=path, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "has secret default/api (certificate)" in checked.stdout
    run(Files(path))
    certificates = path / "certificates"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    client = tls.client_context((certificates / "ca.pem").read_text())
    async with tls.Upstream("127.0.0.1", int(ports["9443"]), server):
        connection = await tls.connect(("127.0.0.2", int(ports["8443"])), CLIENT, client, "api.example")
        assert [await connection.get(target) for target in ("/public/a", "/secret")] == [200, 403]
        await connection.close()
