"""A proxy as a process of its own."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

from cilium_proxy.supervisor import control
from cilium_proxy.supervisor.generation import Generation

LIMIT = 40.0
PROGRAM = [sys.executable, "-m", "cilium_proxy"]


class ProxyProcess:
    """Runs a command with the state directory `state`. `lines`: its log and Envoy's, as far as they came."""

    def __init__(self, command, state, environment=None):
        self.state = state
        self.lines = []
        self._queue = queue.Queue()
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipe)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, text):
        """The next line with this text."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                line = self._queue.get(timeout=0.1)
                if line is None:
                    break
                if text in line:
                    return line
        raise AssertionError(f"{text!r} was not printed:\n" + "\n".join(self.lines[-60:]))

    def status(self):
        return control.ask(self.state / "control.sock", "status")

    def envoy(self):
        """The process id of the Envoy that serves."""
        return self.status()["envoy"]["pid"]

    def stop(self, number=signal.SIGTERM):
        """Ends it, if it still runs; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        return self.process.wait(LIMIT)

    def end(self):
        """Ends it and whatever it left running."""
        self.stop(signal.SIGKILL)
        for envoy in _record(self.state):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(envoy["pid"], signal.SIGKILL)
            if envoy["generation"] is not None:
                Generation(**envoy["generation"]).release()
        self.reader.join(LIMIT)
        self.process.stdout.close()


def recorded(state):
    """Process groups of the Envoys that a proxy with this state directory started."""
    return [one["pid"] for one in _record(state)]


def _record(state):
    try:
        return json.loads((state / "envoy.json").read_text())
    except FileNotFoundError:
        return []


def eventually(check, limit=LIMIT):
    """Repeats `check` until it returns something true, which it returns."""
    deadline = time.monotonic() + limit
    while not (result := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return result
