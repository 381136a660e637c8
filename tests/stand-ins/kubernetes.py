"""A stand-in for a Kubernetes API server: what kubectl needs of discovery, pods, config maps and namespaces in memory, and streams.

It asks for the bearer token in token.txt, or for a certificate of the authority in ca.pem, and writes down each request that reaches it. A command that is run "in a container" runs in
the folder `container`; a port that is forwarded answers with what it was sent, in capitals. With the word `spdy` it knows no WebSockets.
"""

import base64
import hashlib
import http.server
import json
import ssl
import struct
import subprocess
import sys
import threading
import urllib.parse
import zlib

TOKEN = open("token.txt").read().strip()
LOCK = threading.Lock()
THINGS = {
    "pods": {"web": {"spec": {"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]}, "status": {"phase": "Running"}}},
    "configmaps": {"app": {"data": {"colour": "blue"}}},
    "namespaces": {"shop": {"status": {"phase": "Active"}}},
}
KINDS = {"pods": ("Pod", "po", True), "configmaps": ("ConfigMap", "cm", True), "namespaces": ("Namespace", "ns", False)}


def thing(kind, name):
    namespace = {"namespace": "shop"} if KINDS[kind][2] else {}
    return {"apiVersion": "v1", "kind": KINDS[kind][0], "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", **namespace}, **THINGS[kind][name]}


SPDY_ONLY = "spdy" in sys.argv
BY_CERTIFICATE = "certificates" in sys.argv


def run(command, given):
    done = subprocess.run(command, input=given, capture_output=True, cwd="container")
    status = {"metadata": {}, "status": "Success"}
    if done.returncode:
        causes = [{"reason": "ExitCode", "message": str(done.returncode)}]
        message = f"command terminated with non-zero exit code: {done.returncode}"
        status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message, "details": {"causes": causes}}
    return done.stdout, done.stderr, json.dumps(status).encode()


class Spdy:
    """As much of SPDY/3.1 as `exec` and `port-forward` need. Streams are told apart by the order in which the client opens them."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.zlib = reader, writer, zlib.compressobj()

    def frame(self, first, second, flags, payload):
        self.writer.write(struct.pack("!HH", first, second) + bytes([flags]) + len(payload).to_bytes(3, "big") + payload)
        self.writer.flush()

    def data(self, stream, payload, last=False):
        self.frame(stream >> 16, stream & 0xFFFF, 1 if last else 0, payload)

    def next(self):
        """`(kind, stream, flags, payload)`; `None` for the kind of data, and at the end."""
        head = self.reader.read(8)
        if len(head) < 8:
            return None
        first, second = struct.unpack("!HH", head[:4])
        payload = self.reader.read(int.from_bytes(head[5:], "big"))
        if first & 0x8000 == 0:
            return "data", first << 16 | second, head[4], payload
        stream = int.from_bytes(payload[:4], "big")
        if second == 1:
            block = self.zlib.compress(b"\0\0\0\0") + self.zlib.flush(zlib.Z_SYNC_FLUSH)
            self.frame(0x8003, 2, 0, stream.to_bytes(4, "big") + block)
            return "open", stream, head[4], b""
        if second == 6:
            self.frame(0x8003, 6, 0, payload)
        return "other", stream, head[4], payload

    def exec(self, command, has_input):
        wanted, streams, given, ended = 4 if has_input else 3, [], b"", not has_input
        while len(streams) < wanted or not ended:
            frame = self.next()
            if frame is None:
                return
            kind, stream, flags, payload = frame
            if kind == "open":
                streams.append(stream)
            elif kind == "data" and has_input and len(streams) > 1 and stream == streams[1]:
                given, ended = given + payload, bool(flags & 1)
        out, err, status = run(command, given)
        self.data(streams[-2], out, True)
        self.data(streams[-1], err, True)
        self.data(streams[0], status, True)
        while self.next():
            pass

    def ports(self):
        streams = []
        while frame := self.next():
            kind, stream, flags, payload = frame
            if kind == "open":
                streams.append(stream)
            # Of each pair the first is for errors.
            elif kind == "data" and stream in streams and streams.index(stream) % 2 == 1 and payload:
                self.data(stream, payload.upper(), True)
                self.data(streams[streams.index(stream) - 1], b"", True)


class WebSocket:
    """As much as `exec` needs of v5.channel.k8s.io."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, opcode, payload):
        length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.writer.write(bytes([0x80 | opcode]) + length + payload)
        self.writer.flush()

    def next(self):
        head = self.reader.read(2)
        if len(head) < 2:
            return 8, b""
        length = head[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(self.reader.read(2 if length == 126 else 8), "big")
        mask, payload = self.reader.read(4), self.reader.read(length)
        return head[0] & 0xF, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def exec(self, command, has_input):
        given = b""
        while has_input:
            opcode, payload = self.next()
            if opcode == 8 or payload[:2] == b"\xff\x00":
                break
            if payload[:1] == b"\0":
                given += payload[1:]
        out, err, status = run(command, given)
        for channel, text in ((1, out), (2, err), (3, status)):
            if text:
                self.send(2, bytes([channel]) + text)
        self.send(8, struct.pack("!H", 1000))
        while self.next()[0] != 8:
            pass


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def status(self, code, reason, message):
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}, code)

    def stream(self, sub):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        kind = self.headers.get("upgrade", "").lower()
        offered = ",".join(self.headers.get_all("sec-websocket-protocol") or []).replace(" ", "").split(",")
        if kind == "websocket" and (SPDY_ONLY or sub != "exec" or "v5.channel.k8s.io" not in offered):
            return self.status(400, "BadRequest", "no WebSocket here")
        if kind not in ("websocket", "spdy/3.1"):
            return self.status(400, "BadRequest", "Upgrade request required")
        self.send_response(101)
        self.send_header("connection", "Upgrade")
        self.send_header("upgrade", "websocket" if kind == "websocket" else "SPDY/3.1")
        if kind == "websocket":
            key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.send_header("sec-websocket-protocol", "v5.channel.k8s.io")
        else:
            self.send_header("x-stream-protocol-version", "v4.channel.k8s.io" if sub == "exec" else "portforward.k8s.io")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        tongue = (WebSocket if kind == "websocket" else Spdy)(self.rfile, self.wfile)
        if sub == "portforward":
            return tongue.ports()
        tongue.exec(query["command"], query.get("stdin") == ["true"])

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with LOCK, open("requests.log", "a") as log:
            log.write(f"{self.command} {self.path} {self.headers.get('upgrade', '')}".strip() + "\n")
        if BY_CERTIFICATE:
            subject = dict(pair for part in self.connection.getpeercert()["subject"] for pair in part)
            with LOCK, open("subjects.log", "a") as log:
                log.write(f"{subject['commonName']} {self.command} {self.path}\n")
        elif self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.status(401, "Unauthorized", "Unauthorized")
        path = self.path.split("?")[0].strip("/").split("/")
        if path == ["version"]:
            return self.answer({"major": "1", "minor": "29", "gitVersion": "v1.29.0"})
        if path == ["api"]:
            return self.answer({"kind": "APIVersions", "versions": ["v1"]})
        if path == ["apis"]:
            return self.answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
        if path == ["api", "v1"]:
            verbs = ["create", "delete", "get", "list", "patch", "update"]
            kinds = [{"name": name, "singularName": "", "namespaced": spaced, "kind": kind, "shortNames": [short], "verbs": verbs} for name, (kind, short, spaced) in KINDS.items()]
            return self.answer({"kind": "APIResourceList", "groupVersion": "v1", "resources": kinds})
        if path[:2] != ["api", "v1"]:
            return self.status(404, "NotFound", "the server could not find the requested resource")
        rest = path[2:]
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        kind, name = rest[0], rest[1] if len(rest) > 1 else None
        if kind not in THINGS or (name and name not in THINGS[kind] and self.command != "PUT"):
            return self.status(404, "NotFound", f'{kind} "{name}" not found')
        if len(rest) > 2 and rest[2] in ("exec", "portforward"):
            return self.stream(rest[2])
        if self.command == "GET" and name is None:
            return self.answer({"kind": KINDS[kind][0] + "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [thing(kind, one) for one in THINGS[kind]]})
        if self.command == "GET":
            return self.answer(thing(kind, name))
        if self.command == "POST":
            sent = json.loads(body)
            name = sent["metadata"]["name"]
            THINGS[kind][name] = {key: value for key, value in sent.items() if key in ("spec", "data", "status")}
            return self.answer(thing(kind, name), 201)
        if self.command == "PATCH":
            THINGS[kind][name].update({key: value for key, value in json.loads(body).items() if key in ("spec", "data")})
            return self.answer(thing(kind, name))
        if self.command == "DELETE":
            gone = thing(kind, name)
            if "dryRun=All" not in self.path and "dryRun" not in body.decode():
                del THINGS[kind][name]
            return self.answer(gone)
        self.status(405, "MethodNotAllowed", self.command)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
if BY_CERTIFICATE:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations("ca.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
