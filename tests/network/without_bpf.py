"""Runs a command that is refused bpf(2) with EPERM, as kernels before 5.19 refuse it to unprivileged processes where
`kernel.unprivileged_bpf_disabled` is set: `without_bpf.py COMMAND...`."""

import ctypes
import os
import platform
import struct
import sys

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
REFUSE, ALLOW = 0x00050001, 0x7FFF0000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06

PROGRAM = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, BPF), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]


def main() -> None:
    """Installs the filter and becomes the command."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in PROGRAM))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(PROGRAM), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER)):
        pointer = program if arguments[0] == PR_SET_SECCOMP else None
        if libc.prctl(*arguments, pointer, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
