"""A stand-in for a Kubernetes API server: what kubectl needs of discovery, and pods, config maps and namespaces in memory.

It asks for the bearer token in token.txt, and writes down each request that reaches it.
"""

import http.server
import json
import ssl
import threading

TOKEN = open("token.txt").read().strip()
LOCK = threading.Lock()
THINGS = {
    "pods": {"web": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}, "status": {"phase": "Running"}}},
    "configmaps": {"app": {"data": {"colour": "blue"}}},
    "namespaces": {"shop": {"status": {"phase": "Active"}}},
}
KINDS = {"pods": ("Pod", "po", True), "configmaps": ("ConfigMap", "cm", True), "namespaces": ("Namespace", "ns", False)}


def thing(kind, name):
    namespace = {"namespace": "shop"} if KINDS[kind][2] else {}
    return {"apiVersion": "v1", "kind": KINDS[kind][0], "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", **namespace}, **THINGS[kind][name]}


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

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with LOCK, open("requests.log", "a") as log:
            log.write(f"{self.command} {self.path}\n")
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
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
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
