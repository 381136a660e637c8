#!/usr/bin/env python3
"""New namespaces and mounts, by every call that could make one; a new user namespace would give power over most of the kernel."""
import ctypes, os, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

libc = ctypes.CDLL(None, use_errno=True)


def call(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if result > 0 and arguments[0] in (56, 435):
        os.waitpid(result, 0)
    return 1


for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000, 0x80):
    refused("unshare %#x" % flag, lambda: call(272, flag))
    refused("unshare %#x with a high half" % flag, lambda: call(272, flag | 1 << 40))
    if flag != 0x80:
        child = lambda: call(56, flag | 17, 0, 0, 0, 0)
        pid = os.fork()
        if pid == 0:
            try:
                child()
                os._exit(1)
            except OSError:
                os._exit(0)
        if os.waitpid(pid, 0)[1]:
            out("clone %#x" % flag)
refused("clone3", lambda: call(435, ctypes.create_string_buffer(88), 88))
refused("chroot", lambda: os.chroot("/tmp"))
refused("mount", lambda: call(165, b"tmpfs", b"/tmp", b"tmpfs", 0, b""))
refused("remount", lambda: call(165, b"", b"/", b"", 32, b""))
refused("umount", lambda: call(166, b"/run/agentbox", 2))
refused("open_tree", lambda: call(428, -100, b"/", 1))
refused("fsopen", lambda: call(430, b"tmpfs", 0))
refused("move_mount", lambda: call(429, -100, b"/etc", -100, b"/tmp", 0))
refused("mount_setattr", lambda: call(442, -100, b"/", 0, ctypes.create_string_buffer(32), 32))
refused("pivot_root", lambda: call(155, b"/tmp", b"/tmp"))
refused("bpf", lambda: call(321, 0, ctypes.create_string_buffer(128), 128))
refused("io_uring_setup", lambda: call(425, 8, ctypes.create_string_buffer(120)))
refused("userfaultfd", lambda: call(323, 0))
refused("keyctl", lambda: call(250, 0, -3, 1))
refused("add_key", lambda: call(248, b"user", b"x", b"y", 1, -5))
refused("perf_event_open", lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0))
refused("open_by_handle_at", lambda: call(304, -100, ctypes.create_string_buffer(64), 0))
refused("kexec_load", lambda: call(246, 0, 0, 0, 0))
refused("seccomp with a listener", lambda: call(317, 1, 8, ctypes.create_string_buffer(16)))
refused("TIOCSTI", lambda: call(16, os.open("/dev/tty", os.O_RDWR), 0x5412, b"x"))
refused("TIOCSTI with a high half", lambda: call(16, os.open("/dev/tty", os.O_RDWR), 0x5412 | 1 << 32, b"x"))
end()
