#!/usr/bin/env python3
"""A socket file that a process outside binds while the box runs, in a place that the box sees."""
import os, socket, sys, time
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

path = os.environ["BYPASS_HOME"] + "/protected/late.sock"
for _ in range(100):
    if os.path.exists(path):
        break
    time.sleep(0.1)
else:
    cannot("no socket file came")
time.sleep(0.3)
refused("a socket file that was bound later can be reached", lambda: socket.socket(socket.AF_UNIX).connect(path))
end()
