"""Real servers and clients with a standalone proxy between them. What a server needs is fetched once into target/."""

import contextlib
import fcntl
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from tests.integration.addresses import CLIENT
from tests.integration.conftest import directory, run
from tests.integration.files import LIMIT, Files

__all__ = ["directory", "run"]

CACHE = Path(__file__).parents[2] / "target/tests"


def command(name, package):
    """The path of a program; without it the test is skipped."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path


def class_path(folder):
    """The class path of what the pom.xml of a folder names, from Maven's own repository."""
    maven = command("mvn", "maven")
    pom, cached = folder / "pom.xml", CACHE / folder.name / "classpath"
    with lock(CACHE / folder.name):
        made = cached.exists() and cached.stat().st_mtime >= pom.stat().st_mtime
        if not made or not all(Path(jar).exists() for jar in cached.read_text().strip().split(":")):
            goal = ["dependency:build-classpath", f"-Dmdep.outputFile={cached}", "-DincludeScope=runtime"]
            # A registry can fail for a moment.
            for _ in range(3):
                fetched = subprocess.run(
                    [maven, "-q", "-B", "-C", "-f", str(pom), *goal], capture_output=True, text=True
                )
                if fetched.returncode == 0:
                    break
            assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    return cached.read_text().strip()


@contextlib.contextmanager
def lock(folder):
    """What several runs of the tests share is made by one of them at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Server:
    """A process that listens on a port of 127.0.0.1."""

    def __init__(self, arguments, port, log, **options):
        self.port, self.log = port, log
        self.output = log.open("w")
        self.process = subprocess.Popen(arguments, stdout=self.output, stderr=subprocess.STDOUT, **options)

    def wait(self, limit=120.0):
        deadline = time.monotonic() + limit
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            alive = self.process.poll() is None and time.monotonic() < deadline
            assert alive, f"the server does not listen:\n{self.log.read_text()[-5000:]}"
            time.sleep(0.1)

    def stop(self):
        self.process.kill()
        self.process.wait(LIMIT)
        self.output.close()


@pytest.fixture(scope="session")
def scratch():
    """A directory for servers. Its path is short."""
    with tempfile.TemporaryDirectory(prefix="cs-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def start(directory, run):
    """Runs a proxy in front of a server's port, with a policy that has these rules for clients on this machine."""

    def start(upstream_port, rules, port=None):
        files = Files(directory, "127.0.0.2", upstream_port, protocol="tcp", port=port)
        files.settings["identities"][0]["cidrs"] = [f"{CLIENT}/32", "127.0.0.1/32"]
        files.save()
        files.policy(rules)
        files.proxy = run(files)
        return files

    return start
