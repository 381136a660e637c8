#!/usr/bin/env python3
"""Sockets of processes outside: files in a read-only place and in the workspace, under other names too, and an abstract one."""
import os, socket, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *


def reach(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(3)
    s.connect(path)
    s.sendall(b"x")
    return s.recv(9)


inside, outside = os.environ["BYPASS_INSIDE_SOCK"], os.environ["BYPASS_HELPER_SOCK"]
paths = [inside, outside, "\0" + os.environ["BYPASS_ABSTRACT"], os.environ["BYPASS_APPROVE_SOCK"], "/proc/self/root" + outside, "/proc/self/cwd/helper.sock"]
for change in (lambda: os.link(inside, "linked.sock"), lambda: os.rename(inside, "renamed.sock"), lambda: os.unlink(inside)):
    refused("a socket file can be given another name, or removed", change)
for path in paths + ["linked.sock", "renamed.sock"]:
    refused("%r can be reached" % path, lambda: reach(path))
end()
