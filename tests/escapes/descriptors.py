#!/usr/bin/env python3
"""What is inherited: no descriptor beyond the three streams, and the files behind those cannot be opened anew for more than they are."""
import os, stat, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

# Of the first process that the box started, which is our shell's shell; all of ours inherit from it.
for pid in [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]:
    try:
        for number in os.listdir("/proc/%s/fd" % pid):
            target = os.readlink("/proc/%s/fd/%s" % (pid, number))
            if target.startswith(("socket:", "anon_inode:[pidfd]", "anon_inode:seccomp")) and pid != str(os.getpid()):
                out("descriptor %s of %s is %s" % (number, pid, target))
    except OSError:
        pass
for number in (0, 1, 2):
    target = os.readlink("/proc/self/fd/%d" % number)
    if target.startswith("/") and not target.startswith(("/dev/", os.getcwd())):
        refused("%s can be opened anew for writing" % target, lambda: os.open("/proc/self/fd/%d" % number, os.O_RDWR))
    if stat.S_ISDIR(os.fstat(number).st_mode):
        out("stream %d is a folder outside" % number)
home = os.environ["BYPASS_HOME"]
key = home + "/.ssh/id_ed25519"
for path in (key, "/proc/self/root" + key, "/proc/1/root" + key, "/proc/self/cwd/../home/.ssh/id_ed25519", "/dev/fd/../../root" + key):
    try:
        if "key" in open(path).read():
            out("%s can be read" % path)
    except OSError:
        pass
for folder in (home + "/.ssh", os.environ["BYPASS_LOGDIR"], os.path.dirname(os.environ["BYPASS_APPROVE_SOCK"])):
    try:
        if os.listdir(folder):
            out("%s shows %s" % (folder, os.listdir(folder)))
    except OSError:
        pass
end()
