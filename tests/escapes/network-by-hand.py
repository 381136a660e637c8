#!/usr/bin/env python3
"""The box's network: routes, rules and the firewall cannot be changed, no socket goes below it, and the broker's own ports cannot be taken."""
import os, socket, struct, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

control()


def netlink(kind, payload, flags=5):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.settimeout(3)
    s.sendto(struct.pack("=IHHII", 16 + len(payload), kind, flags, 1, 0) + payload, (0, 0))
    answer = s.recv(65536)
    code = struct.unpack("=i", answer[16:20])[0]
    if struct.unpack("=H", answer[4:6])[0] == 2 and code < 0:
        raise OSError(-code, os.strerror(-code))
    return code


route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
address = struct.pack("=BBBBI", 2, 32, 0, 0, 1) + struct.pack("=HH4s", 8, 2, bytes([192, 0, 2, 7]))
rule = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0)
link = struct.pack("=BxHiII", 0, 0, 1, 0, 1)
for name, kind, payload in (("route", 24, route), ("no route", 25, route), ("address", 20, address), ("rule", 32, rule), ("no rule", 33, rule), ("link down", 16, link)):
    refused("netlink: %s" % name, lambda: netlink(kind, payload, 5 | 0x400))
for protocol in (4, 6, 9, 12, 15, 16):
    refused("netlink family %d" % protocol, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close())
for family, kind, protocol in ((2, 3, 255), (2, 3, 1), (2, 3, 6), (10, 3, 58), (17, 3, 0x0300), (17, 2, 0x0300), (2, 10, 0x0300), (40, 1, 0), (2, 1, 262), (2, 1, 132), (2, 2, 1), (2, 2, 136), (38, 5, 0), (43, 1, 0), (44, 3, 0), (16, 3, 12)):
    refused("socket(%d, %d, %d)" % (family, kind, protocol), lambda: socket.socket(family, kind, protocol).close())
s = socket.socket()
for level, option, value in ((0, 19, b"\1\0\0\0"), (1, 36, b"\1\0\0\0"), (1, 25, b"eth0\0"), (6, 33, b"\1\0\0\0"), (41, 75, b"\1\0\0\0"), (1, 32, b"\1\0\0\0"), (1, 12, b"\7\0\0\0")):
    refused("setsockopt %d %d" % (level, option), lambda: s.setsockopt(level, option, value), *((None,) if (level, option) == (1, 12) else ()))


def take(port, kind):
    for address in ("0.0.0.0", "127.0.0.1", "192.0.2.53", "192.0.2.100"):
        s = socket.socket(socket.AF_INET, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            s.bind((address, port))
            if kind == socket.SOCK_STREAM:
                s.listen(5)
            keep.append(s)
        except OSError:
            s.close()


keep = []
# What is taken may at most cut the box off; nothing may come to lead elsewhere than to the broker.
for port in (39999, 53, 80, 443):
    take(port, socket.SOCK_STREAM)
take(53, socket.SOCK_DGRAM)
after = state()
if after not in ("alive",) and not after.startswith("unknown"):
    out("the origin is %s" % after)
for s in keep:
    s.close()
control()
# The canary lies on the loopback of the host: by no form of an address may a datagram or a connection reach it.
port = int(os.environ["OUTSIDE_CANARY"].split(":")[1])
forms = ["127.0.0.1", "0.0.0.0", "127.1.2.3", "10.0.2.2", "192.0.2.100", "169.254.169.254", "255.255.255.255", "224.0.0.1", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1%lo", "ff02::1%lo"]
for form in forms:
    family = socket.AF_INET6 if ":" in form else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(family, kind)
            s.settimeout(1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            s.connect(socket.getaddrinfo(form, port, family, kind)[0][4])
            s.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if b"CANARY" in s.recv(4096):
                out("the canary answers on %s" % form)
        except OSError:
            pass
end()
