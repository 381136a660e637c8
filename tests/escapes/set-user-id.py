#!/usr/bin/env python3
"""Leaves a program in the workspace that runs as its owner for whoever starts it outside."""
import ctypes, os, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

libc = ctypes.CDLL(None, use_errno=True)
open("program", "w").close()
libc.chmod(b"program", 0o4755)
libc.syscall(90, b"program", 0o4755)
libc.syscall(91, os.open("program", os.O_RDONLY), 0o4755)
libc.syscall(268, -100, b"program", 0o4755, 0)
libc.syscall(452, -100, b"program", 0o4755, 0)
libc.syscall(85, b"made-1", 0o4755)
libc.syscall(2, b"made-2", os.O_CREAT | os.O_WRONLY, 0o4755)
libc.syscall(257, -100, b"made-3", os.O_CREAT | os.O_WRONLY, 0o4755)
libc.syscall(257, -100, b"made-4", (1 << 40) | os.O_CREAT | os.O_WRONLY, (1 << 40) | 0o4755)
libc.syscall(133, b"made-5", 0o104755, 0)
libc.syscall(259, -100, b"made-6", 0o104755, 0)
temporary = libc.syscall(257, -100, b".", 0x410000 | os.O_WRONLY, 0o4755)
if temporary >= 0 and os.fstat(temporary).st_mode & 0o4000:
    out("a file without a name has the bit")
for name in os.listdir("."):
    if os.lstat(name).st_mode & 0o4000:
        out("%s has the bit" % name)
if open("made-7", "w").close() or not os.path.exists("made-7"):
    cannot("no file can be made at all")
os.chmod("program", 0o755)
end()
