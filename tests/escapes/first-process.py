#!/usr/bin/env python3
"""PID 1 of the box is ours: looks into it, steers it, ends it; and the processes outside by their numbers."""
import ctypes, os, signal, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

libc = ctypes.CDLL(None, use_errno=True)


def call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


for pid in [1, *(int(os.environ[name]) for name in ("BYPASS_SUPERVISOR_PID", "BYPASS_BROKER_PID", "BYPASS_INIT_PID"))]:
    if pid != 1 and os.path.exists("/proc/%d" % pid) and "NSpid" in open("/proc/%d/status" % pid).read():
        # A process of the box that has this number by chance.
        continue
    for name in ("environ", "mem", "maps", "auxv", "io"):
        refused("/proc/%d/%s can be read" % (pid, name), lambda: open("/proc/%d/%s" % (pid, name), "rb").read(1))
    for name in ("root", "cwd"):
        refused("/proc/%d/%s can be entered" % (pid, name), lambda: os.listdir("/proc/%d/%s" % (pid, name)))
    for name in ("fd", "map_files", "ns"):
        refused("/proc/%d/%s: a link of it can be read" % (pid, name), lambda: [os.readlink(os.path.join("/proc/%d" % pid, name, one)) for one in os.listdir("/proc/%d/%s" % (pid, name))][0])
    refused("/proc/%d/exe can be opened" % pid, lambda: os.open("/proc/%d/exe" % pid, os.O_RDONLY))
    for name in ("oom_score_adj", "coredump_filter", "clear_refs", "comm", "timerslack_ns", "uid_map", "gid_map", "setgroups", "autogroup", "loginuid"):
        refused("/proc/%d/%s can be opened for writing" % (pid, name), lambda: os.open("/proc/%d/%s" % (pid, name), os.O_WRONLY))
    refused("%d can be traced" % pid, lambda: call(101, 16, pid, 0, 0))  # PTRACE_ATTACH
    refused("%d can be seized" % pid, lambda: call(101, 0x4206, pid, 0, 0))  # PTRACE_SEIZE
    buffer = ctypes.create_string_buffer(8)
    refused("the memory of %d can be read" % pid, lambda: call(310, pid, ctypes.byref((ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8)), 1, ctypes.byref((ctypes.c_ulong * 2)(0x400000, 8)), 1, 0))
    refused("limits of %d can be set" % pid, lambda: call(302, pid, 0, ctypes.byref((ctypes.c_ulong * 2)(1, 1)), 0))
    refused("the affinity of %d can be set" % pid, lambda: os.sched_setaffinity(pid, {0}))
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        continue
    for number in range(16):
        refused("descriptor %d of %d can be taken" % (number, pid), lambda: call(438, handle, number, 0))
    refused("the namespaces of %d can be entered" % pid, lambda: call(308, handle, 0x00020000))
# Signals from within a PID namespace reach its first process only where it has a handler: this must leave the box as it is.
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD, signal.SIGSEGV):
    try:
        os.kill(1, number)
    except OSError:
        pass
control()
end()
