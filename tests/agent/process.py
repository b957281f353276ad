"""`cilium-proxy agent` as a process."""

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time

from cilium_proxy.supervisor import control

LIMIT = 40.0


class Proxy:
    """Started with a bootstrap and further arguments. `lines`: its log and Envoy's."""

    def __init__(self, directory, bootstrap, *arguments, environment=None):
        self.directory = directory
        self.state = directory / "state"
        path = directory / "bootstrap-config.json"
        path.write_text(json.dumps(bootstrap))
        self.process = subprocess.Popen(
            self.command(path, arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.lines = []
        self._queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def command(self, path, arguments):
        """The command line."""
        command = [sys.executable, "-m", "cilium_proxy", "agent", "-c", str(path), "--state-dir", str(self.state)]
        return [*command, *arguments]

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

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(LIMIT)
        self.process.stdout.close()
        return code
