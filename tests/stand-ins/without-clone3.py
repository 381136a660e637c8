"""Runs a command under a filter that answers ENOSYS to clone3, as the profiles of container managers do."""

import ctypes
import os
import struct
import sys

CLONE3 = 435
ENOSYS = 38
# Load the number; where it is clone3 answer ENOSYS, else let it pass (linux/seccomp.h, linux/filter.h).
STEPS = [(0x20, 0, 0, 0), (0x15, 0, 1, CLONE3), (0x06, 0, 0, 0x00050000 | ENOSYS), (0x06, 0, 0, 0x7FFF0000)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in STEPS))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert libc.prctl(22, 2, ctypes.byref(Program(len(STEPS), ctypes.addressof(steps)))) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])
