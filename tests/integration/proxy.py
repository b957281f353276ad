"""`cilium-proxy run` as a process."""

from tests.proxy_process import PROGRAM, ProxyProcess, eventually

__all__ = ["Proxy", "eventually"]


class Proxy(ProxyProcess):
    """Started with `files`. `state_directory` None: it chooses one itself."""

    def __init__(self, files, state_directory="state"):
        self.files = files
        state = files.directory / (state_directory or "unknown")
        command = [*PROGRAM, "run", "-c", str(files.path)]
        super().__init__([*command, "--state-dir", str(state)] if state_directory else command, state)
