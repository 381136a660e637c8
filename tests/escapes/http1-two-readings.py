#!/usr/bin/env python3
"""Requests with two readings: the broker reads one request, the loosest of servers reads two, or another one."""
import sys
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

control()
h = ORIGIN.encode()
inner = b"DELETE /v HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n" % h
chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)


def post(headers, body, path=b"/note", method=b"POST"):
    return b"%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s" % (method, path, h, headers, body)


cl = b"Content-Length: %d" % len(inner)
tries = {
    "CL and TE": post(cl + b"\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + inner),
    "TE and CL": post(b"Transfer-Encoding: chunked\r\nContent-Length: 4", chunked),
    "two CL": post(b"Content-Length: 0\r\n" + cl, inner),
    "CL list": post(b"Content-Length: 0, %d" % len(inner), inner),
    "CL plus": post(b"Content-Length: +0", inner),
    "CL hex": post(b"Content-Length: 0x0", inner),
    "CL with space": post(b"Content-Length : 0", inner),
    "CL obs-fold": post(b"X: a\r\n Content-Length: 0", inner),
    "TE obs-fold": post(b"Transfer-Encoding:\r\n chunked", b"0\r\n\r\n" + inner),
    "TE vertical tab": post(b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n" + inner),
    "TE in two lines": post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + inner),
    "TE quoted": post(b'Transfer-Encoding: "chunked"', b"0\r\n\r\n" + inner),
    "bare LF head": b"POST /note HTTP/1.1\nHost: %s\nContent-Length: 0\n\n" % h + inner,
    "bare CR in a value": post(b"X: a\rContent-Length: 0", inner),
    "NUL in a value": post(b"X: a\0\r\nContent-Length: 0", inner),
    "chunk extension with LF": post(b"Transfer-Encoding: chunked", b"1;a\nb\r\nx\r\n0\r\n\r\n" + inner),
    "chunk size overflow": post(b"Transfer-Encoding: chunked", b"10000000000000000\r\n" + inner),
    "chunk size with space": post(b"Transfer-Encoding: chunked", b"0 \r\n\r\n" + inner),
    "chunk ends in LF": post(b"Transfer-Encoding: chunked", b"1\nx\n0\n\n" + inner),
    "GET with CL 0 and a tail": post(b"Content-Length: 0", inner, b"/a", b"GET"),
    "GET with a body": post(cl, inner, b"/a", b"GET"),
    "HEAD with a body": post(cl, inner, b"/a", b"HEAD"),
    "pipelined": b"GET /a HTTP/1.1\r\nHost: %s\r\n\r\n" % h + inner,
    "leading CRLF": b"\r\n\r\n" + inner,
    "HTTP/1.0 kept alive": b"GET /a HTTP/1.0\r\nHost: %s\r\nConnection: keep-alive\r\n\r\n" % h + inner,
    "HTTP/0.9": b"GET /a\r\n" + inner,
    "lower-case method": b"delete /v HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n" % h,
    "space before the path": b"DELETE  /v HTTP/1.1\r\nHost: %s\r\n\r\n" % h,
    "target with a space": b"GET /a HTTP/1.1 DELETE /v HTTP/1.1\r\nHost: %s\r\n\r\n" % h,
    "absolute form": b"DELETE http://%s/v HTTP/1.1\r\nHost: %s\r\n\r\n" % (h, h),
    "CONNECT": b"CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\n\r\n" % (h, h) + inner,
    "upgrade to h2c": post(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 0", inner),
    "websocket": post(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13", inner, b"/ws", b"GET"),
    "trailer that overrides": post(b"Transfer-Encoding: chunked\r\nTrailer: X-HTTP-Method-Override", b"1\r\nx\r\n0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n"),
    "trailer with framing": post(b"Transfer-Encoding: chunked", b"1\r\nx\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + inner),
    "Connection names Content-Length": post(b"Connection: content-length\r\n" + cl, inner),
    "Connection names Host": post(b"Connection: host\r\nContent-Length: 0", inner),
    "Expect and a tail": post(b"Expect: 100-continue\r\nContent-Length: 0", inner),
    "other Host": b"DELETE /v HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 0\r\n\r\n",
    "two Hosts": b"GET /v HTTP/1.1\r\nHost: %s\r\nHost: elsewhere.example\r\n\r\n" % h + inner,
    "127 headers": post(b"\r\n".join(b"X-%d: y" % i for i in range(140)) + b"\r\nContent-Length: 0", inner),
    "a head of 80 KiB": post(b"X: " + b"y" * 81920 + b"\r\nContent-Length: 0", inner),
}
for name, data in tries.items():
    try:
        answer = talk(data)
    except OSError as error:
        answer = repr(error).encode()
    # The inner request may only be answered as what it is: a DELETE that is held.
    survived(name)
    print("%-32s %r" % (name, answer[:40]), file=sys.stderr)
end()
