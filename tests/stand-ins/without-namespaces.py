"""Runs a command where new namespaces are refused: clone and unshare with CLONE_NEW* give EPERM, clone3 ENOSYS.

Docker's default profile and a service of systemd with `RestrictNamespaces=yes` refuse them so. With `--no-getfd` before the command
pidfd_getfd gives EPERM besides, as under Docker's profile without CAP_SYS_PTRACE; with `--no-reading` process_vm_readv does.
"""

import ctypes
import os
import struct
import sys

CLONE, UNSHARE, CLONE3 = {"x86_64": (56, 272, 435), "aarch64": (220, 97, 435)}[os.uname().machine]
EPERM, ENOSYS = 1, 38
command = sys.argv[1:]
# One more that is refused; else one that is no call's.
MORE = {"--no-getfd": 438, "--no-reading": {"x86_64": 310, "aarch64": 270}[os.uname().machine]}.get(command[0], 0xFFFFFFFF)
command = command[1:] if command[0].startswith("--no-") else command
# CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP.
NAMESPACES = 0x7E020000
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
# Which call; for clone and unshare the flags are in the first argument (linux/seccomp.h, linux/filter.h).
STEPS = [
    (LOAD, 0, 0, 0),
    (EQUAL, 7, 0, CLONE3),
    (EQUAL, 5, 0, MORE),
    (EQUAL, 1, 0, CLONE),
    (EQUAL, 0, 2, UNSHARE),
    (LOAD, 0, 0, 16),
    (ANY_BIT, 1, 0, NAMESPACES),
    (RETURN, 0, 0, 0x7FFF0000),
    (RETURN, 0, 0, 0x00050000 | EPERM),
    (RETURN, 0, 0, 0x00050000 | ENOSYS),
]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in STEPS))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert libc.prctl(22, 2, ctypes.byref(Program(len(STEPS), ctypes.addressof(steps)))) == 0, os.strerror(ctypes.get_errno())
os.execvp(command[0], command)
