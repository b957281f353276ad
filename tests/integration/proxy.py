"""`cilium-proxy run` as a process."""

import contextlib
import queue
import signal
import subprocess
import sys
import threading
import time

from tests.integration.files import LIMIT

from cilium_proxy.supervisor import control


class Proxy:
    """`cilium-proxy run` as a process."""

    def __init__(self, files, state_directory="state"):
        self.files = files
        self.state = files.directory / (state_directory or "unknown")
        self.lines = []
        self._queue = queue.Queue()
        arguments = ["-m", "cilium_proxy", "run", "-c", str(files.path)]
        if state_directory:
            arguments += ["--state-dir", str(self.state)]
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, text):
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                line = self._queue.get(timeout=0.1)
                if line is None:
                    break
                if text in line:
                    return line
        raise AssertionError(f"{text!r} was not printed:\n" + "\n".join(self.lines))

    def status(self):
        return control.ask(self.state / "control.sock", "status")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        return self.process.wait(LIMIT)


def eventually(check, limit=LIMIT):
    """Repeats `check` until it returns something true, which it returns."""
    deadline = time.monotonic() + limit
    while not (result := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return result
