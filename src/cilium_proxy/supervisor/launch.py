"""Becomes Envoy, tied to the supervisor's life: `python launch.py SUPERVISOR_PID PROGRAM ARGUMENT...`.

A program of its own, because the supervisor has threads and must not run Python between fork and exec. Needs the
standard library only.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Never returns."""
    supervisor, program, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, int(value), 0, 0, 0) != 0:
            sys.exit(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")
    # The supervisor may have ended before the kernel knew whom to watch.
    if os.getppid() != supervisor:
        sys.exit(1)
    # Envoy needs a descriptor per connection; the usual soft limit of 1,024 is for programs that use select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Ignored signals stay ignored across exec; Python ignores this one.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(program, arguments)  # noqa: S606


if __name__ == "__main__":
    main()
