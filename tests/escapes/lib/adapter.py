#!/usr/bin/env python3
"""Runs in the box: lets scripts that speak to an HTTP proxy speak to a box, which has none.

The bypass scripts send `METHOD http://host:port/path`. The box has no proxy: every address leads to the broker. So this opens a connection
to the broker by the host's name and sends the same bytes on, with only the `http://host:port` of request lines taken out. Everything
else, framing and all, stays as the script wrote it. Where the URL names a host that cannot be reached from the box, the request goes to
the origin with that Host header. `CONNECT` is handed to the broker as it is; on the second port it is played as what it stands for in
a box: a connection to that host.

usage: adapter.py ORIGIN_HOST:PORT FILE_FOR_THE_TWO_PORTS"""
import os, re, socket, sys, threading

origin = sys.argv[1].rsplit(":", 1)
LINE = re.compile(rb"^([A-Z]+) http://([^/ ]+)(\S*)", re.M)


def pump(a, b, change=lambda x: x):
    try:
        while data := a.recv(65536):
            b.sendall(change(data))
    except OSError:
        pass
    try:
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def dial(authority):
    host, _, port = authority.rpartition(":")
    try:
        return socket.create_connection((host.rpartition("@")[2], int(port)), timeout=5)
    except (OSError, ValueError, UnicodeError):
        return socket.create_connection((origin[0], int(origin[1])), timeout=5)


def serve(c, plays_connect):
    try:
        c.settimeout(20)
        first = c.recv(65536)
        asked = re.match(rb"CONNECT (\S+)", first)
        if asked and plays_connect:
            far = dial(asked.group(1).decode())
            c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            first = b""
        else:
            named = LINE.match(first)
            far = dial(named.group(2).decode("utf8", "replace") if named else "")
        far.settimeout(20)
        origin_form = lambda data: LINE.sub(rb"\1 \3", data)
        if first:
            far.sendall(origin_form(first))
        threading.Thread(target=pump, args=(far, c), daemon=True).start()
        pump(c, far, origin_form)
    except OSError:
        c.close()


def listen(plays_connect):
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(64)

    def loop():
        while True:
            c, _ = s.accept()
            threading.Thread(target=serve, args=(c, plays_connect), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return s.getsockname()[1]


ports = "%d %d" % (listen(False), listen(True))
with open(sys.argv[2] + ".new", "w") as out:
    out.write(ports)
os.rename(sys.argv[2] + ".new", sys.argv[2])
threading.Event().wait()
