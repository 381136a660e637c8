#!/usr/bin/env python3
"""What lies outside the box: an origin (clear and TLS, one state), a canary, socket files, an abstract socket. Prints one JSON line; ends with its standard input.

usage: outside.py FOLDER CERTIFICATE KEY [FOLDER_OF_BYPASS_LIB]
Every request that reaches the origin is appended to FOLDER/origin.log, every touch of another thing to FOLDER/touched.log: the harness reads both."""
import json, os, socket, ssl, sys, threading

folder, certificate, key = sys.argv[1:4]
log_lock = threading.Lock()


def note(name, text):
    with log_lock, open(os.path.join(folder, name), "a") as log:
        log.write(text + "\n")


def listener(address=("127.0.0.1", 0), family=socket.AF_INET, kind=socket.SOCK_STREAM):
    s = socket.socket(family, kind)
    s.bind(address)
    if kind == socket.SOCK_STREAM:
        s.listen(64)
    return s


def each(s, serve):
    def loop():
        while True:
            c, _ = s.accept()
            threading.Thread(target=serve, args=(c,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


class Origin:
    """Takes HTTP/1.1 as loosely as the loosest server: every head that looks like a request is one."""
    def __init__(self):
        self.state = "alive"

    def handle(self, c):
        c.settimeout(20)
        f = c.makefile("rb")
        try:
            while line := f.readline(1 << 20):
                if line in (b"\r\n", b"\n"):
                    continue
                parts = line.split()
                if len(parts) < 2:
                    return
                method, target, headers = parts[0].decode("latin1"), parts[1].decode("latin1"), {}
                lines = []
                while (l := f.readline(1 << 20)) not in (b"\r\n", b"\n", b""):
                    lines.append(l.decode("latin1").rstrip("\r\n"))
                    if b":" in l:
                        k, v = l.split(b":", 1)
                        headers[k.strip().lower().decode("latin1")] = v.strip().decode("latin1")
                body = b""
                if "chunked" in headers.get("transfer-encoding", "").lower():
                    while n := int(f.readline().split(b";")[0].strip() or b"0", 16):
                        body += f.read(n)
                        f.readline()
                    while f.readline() not in (b"\r\n", b"\n", b""):
                        pass
                elif "content-length" in headers:
                    body = f.read(int(headers["content-length"]))
                note("origin.log", json.dumps({"method": method, "target": target, "headers": lines, "body": body.decode("latin1")}))
                if target == "/__revive":
                    self.state = "alive"
                for override in ("x-http-method-override", "x-http-method", "x-method-override"):
                    method = headers.get(override, method)
                if method.upper() == "DELETE" or b"volumeDelete" in body:
                    self.state = "destroyed"
                answer = self.state.encode()
                c.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
        except (OSError, ValueError):
            pass
        finally:
            c.close()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
if len(sys.argv) > 4:
    sys.path.insert(0, sys.argv[4])
    import bypass
    tls, plain = bypass.Origin(context), bypass.Origin()
    tls.handle = plain.handle
    origin, tls_origin = plain.addr[1], tls.addr[1]
else:
    own = Origin()
    clear, wrapped = listener(), listener()

    def in_tls(c):
        try:
            own.handle(context.wrap_socket(c, server_side=True))
        except OSError:
            c.close()
    each(clear, own.handle)
    each(wrapped, in_tls)
    origin, tls_origin = clear.getsockname()[1], wrapped.getsockname()[1]


def echo(name):
    def serve(c):
        note("touched.log", name)
        try:
            c.settimeout(3)
            if c.recv(4096):
                # An agent for keys answers a list of them with five bytes at least.
                c.sendall(b"CANARY-OK")
        except OSError:
            pass
        c.close()
    return serve


canary = listener()
port = canary.getsockname()[1]
each(canary, echo("canary"))
datagrams = listener(("127.0.0.1", port), kind=socket.SOCK_DGRAM)


def datagram_loop():
    while True:
        _, peer = datagrams.recvfrom(4096)
        note("touched.log", "canary datagram")
        datagrams.sendto(b"CANARY-OK", peer)


threading.Thread(target=datagram_loop, daemon=True).start()
# By their real paths, as a box shows them.
path = os.path.join(os.path.realpath(os.path.join(folder, "protected")), "helper.sock")
each(listener(path, socket.AF_UNIX), echo("socket file"))
os.chmod(path, 0o777)
inside = os.path.join(os.path.realpath(os.path.join(folder, "work")), "helper.sock")
each(listener(inside, socket.AF_UNIX), echo("socket file in the workspace"))
os.chmod(inside, 0o777)
abstract = "agentbox-outside-%d" % os.getpid()
each(listener("\0" + abstract, socket.AF_UNIX), echo("abstract socket"))
print(json.dumps({"origin": origin, "tls": tls_origin, "canary": port, "socket": path, "inside": inside, "abstract": abstract}), flush=True)
sys.stdin.read()
