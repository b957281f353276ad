"""`python -m bench.agent.asking CONTROL_SOCKET`: asks the proxy for its status all the while.

For each line of input it prints the longest time in seconds that an answer took since the line before. A process of its
own: the benchmark's is busy being the agent.
"""

from __future__ import annotations

import contextlib
import select
import sys
import time
from pathlib import Path

from cilium_proxy.supervisor import control

PAUSE = 0.005


def main() -> None:
    """See above."""
    path, longest = Path(sys.argv[1]), 0.0
    while True:
        start = time.monotonic()
        with contextlib.suppress(control.UnreachableError):
            control.ask(path, "status")
        longest = max(longest, time.monotonic() - start)
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            if not sys.stdin.readline():
                return
            print(longest, flush=True)
            longest = 0.0


if __name__ == "__main__":
    main()
