"""`make demo`: a CiliumNetworkPolicy enforced on real requests by stock Envoy, then changed while it runs."""

from __future__ import annotations

import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

HERE = Path(__file__).resolve().parent
DEATHSTAR = "http://127.0.0.2:10080"
BACKEND = "127.0.0.2:10081"
SHIPS = {"tiefighter": "127.0.0.3", "xwing": "127.0.0.4"}
START_LIMIT = 30.0
LOG_LIMIT = 5.0


@dataclass(frozen=True)
class Request:
    """A request, and what the policy should make of it."""

    ship: str
    method: str
    path: str
    allowed: bool


BEFORE = [
    Request("tiefighter", "POST", "/v1/request-landing", allowed=True),
    Request("tiefighter", "PUT", "/v1/exhaust-port", allowed=False),
    Request("xwing", "POST", "/v1/request-landing", allowed=False),
]
AFTER = [Request("xwing", "POST", "/v1/request-landing", allowed=True), *BEFORE[1:2]]


class Proxy:
    """A running `cilium-proxy run`, and the lines it prints."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "cilium_proxy", "run", "-c", str(directory / "proxy.yaml")]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def wait_for(self, text: str, limit: float) -> str:
        """The next line that holds the text. Exits with the proxy's own output when none comes."""
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            self._seen.append(line)
            if text in line:
                return line
        sys.exit("\n".join([f"the proxy did not print {text!r}; its output was:", *self._seen[-40:]]))

    def stop(self) -> int:
        """Ends the proxy and returns its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def backend() -> Iterator[None]:
    """The service behind the proxy."""
    process = subprocess.Popen([sys.executable, str(HERE / "backend.py"), BACKEND])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def send(request: Request, proxy: Proxy) -> bool:
    """Sends a request from the ship's address, shows what came of it; False when policy did not do what it says."""
    print(f"\n  {request.ship} ({SHIPS[request.ship]})  {request.method} {request.path}")
    try:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=SHIPS[request.ship])) as client:
            reply = client.request(request.method, DEATHSTAR + request.path)
            source, port = reply.extensions["network_stream"].get_extra_info("client_addr")[:2]
        allowed = reply.status_code == httpx.codes.OK
        print(f"    {'ALLOWED' if allowed else 'DENIED'} {reply.status_code}: {reply.text.strip()}")
        line = proxy.wait_for(f"{source}:{port}", LOG_LIMIT)
    except httpx.TransportError as error:
        allowed = False
        print(f"    REFUSED connection: {error}")
        line = proxy.wait_for(f"{SHIPS[request.ship]}:", LOG_LIMIT)
    _, dropped, reason = line.partition("DROPPED")
    if dropped:
        print(f"    reason  {reason.partition('): ')[2]}")
    print(f"    log     {line}")
    return allowed == request.allowed


def send_all(requests: list[Request], proxy: Proxy) -> bool:
    """Sends every request, whatever became of the one before; True when all verdicts were right."""
    results = [send(request, proxy) for request in requests]
    return all(results)


def until_enforced(request: Request, limit: float) -> float:
    """Repeats a request until policy allows it; returns the seconds it took."""
    started = time.monotonic()
    with httpx.Client(transport=httpx.HTTPTransport(local_address=SHIPS[request.ship])) as client:
        while not _allowed(client, request):
            if time.monotonic() - started > limit:
                sys.exit(f"the changed policy was not enforced within {limit:g} s")
            time.sleep(0.02)
    return time.monotonic() - started


def _allowed(client: httpx.Client, request: Request) -> bool:
    try:
        return client.request(request.method, DEATHSTAR + request.path).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def main() -> int:
    """Runs the story; 0 when every verdict was as the policy says."""
    with tempfile.TemporaryDirectory(prefix="starwars-") as name, backend():
        directory = Path(name)
        shutil.copytree(HERE / "policies", directory / "policies")
        shutil.copy(HERE / "proxy.yaml", directory)
        policy = directory / "policies/rule1.yaml"

        print("The policy (examples/starwars/policies/rule1.yaml):\n")
        print(_indented(policy.read_text()))
        proxy = Proxy(directory)
        try:
            proxy.wait_for("ready", START_LIMIT)
            print("Requests to the deathstar, through stock Envoy:")
            right = send_all(BEFORE, proxy)

            print("\nThe alliance bribes an officer; the policy file now also has\n")
            change = "        - matchLabels: {org: alliance}\n"
            policy.write_text(policy.read_text().replace("      toPorts:", f"{change}      toPorts:"))
            print(_indented(change))
            took = until_enforced(AFTER[0], limit=10)
            print(f"Enforced {took:.2f} s after the edit, no connection dropped:")
            right &= send_all(AFTER, proxy)
        finally:
            code = proxy.stop()
    if code != 0:
        sys.exit(f"the proxy ended with code {code}")
    if not right:
        sys.exit("a verdict was not what the policy says")
    command, config = ".venv/bin/cilium-proxy", "-c examples/starwars/proxy.yaml"
    print(
        "\nEverything is stopped and removed again. To try next:\n"
        f"  {command} verdict {config} --from xwing --to deathstar --port 10080 --method POST --path /\n"
        f"  {command} explain {config} --from tiefighter --to deathstar --port 10080 --method PUT --path /\n"
        f"  {command} run {config}"
    )
    return 0


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
