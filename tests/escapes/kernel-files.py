#!/usr/bin/env python3
"""Every file of /proc, /sys and /dev that is about the whole machine: none may be opened for writing, whatever its mode says."""
import os, stat, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

SAFE = {"full", "null", "ptmx", "random", "tty", "urandom", "zero", "console"}
count = 0
for top in ("/proc", "/sys"):
    for folder, folders, files in os.walk(top):
        if folder == "/proc":
            # Processes of the box itself.
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
        for name in files:
            path = os.path.join(folder, name)
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                count += 1
                # Opened only: nothing is written, or cut.
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
                out("%s can be opened for writing" % path)
            except OSError:
                pass
for secret in ("/proc/kcore", "/proc/kallsyms", "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger", "/sys/kernel/debug", "/sys/fs/bpf"):
    try:
        if os.path.isdir(secret):
            leaks = bool(os.listdir(secret))
        else:
            descriptor = os.open(secret, os.O_RDONLY | os.O_NONBLOCK)
            text = os.read(descriptor, 4096)
            # Addresses are shown as zeros to those without power.
            leaks = bool(text) and not (secret.endswith("kallsyms") and text.startswith(b"0000000000000000 "))
        if leaks:
            out("%s tells of the machine" % secret)
    except OSError:
        pass
for name in os.listdir("/dev"):
    mode = os.lstat("/dev/" + name).st_mode
    if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and name not in SAFE):
        out("/dev/%s is there" % name)
for name in os.listdir("/dev/pts"):
    if name != "ptmx" and os.stat("/dev/pts/" + name).st_rdev != os.fstat(0).st_rdev and name != "0":
        out("/dev/pts/%s is another's" % name)
for kind, device in ((stat.S_IFBLK, os.makedev(254, 0)), (stat.S_IFCHR, os.makedev(1, 1)), (stat.S_IFCHR, os.makedev(10, 232))):
    refused("a device can be made", lambda: os.mknod("node", kind | 0o666, device))
if count < 100:
    cannot("only %d files were tried" % count)
end()
