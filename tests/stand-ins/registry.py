"""A registry on loopback for npm, pip, cargo, Go and Maven, with one package of each: `halves`, which tells the half of a number. Writes each request down."""

import base64, hashlib, http.server, io, json, os, tarfile, zipfile

# What Maven itself is made of, as Debian packs it.
MAVEN = "/usr/share/maven-repo"


def tar(root, files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def npm(base):
    manifest = {"name": "halves", "version": "1.0.0", "main": "index.js"}
    ball = tar("package", {"package.json": json.dumps(manifest), "index.js": "module.exports = (number) => number / 2;\n"})
    dist = {
        "tarball": f"{base}/npm/halves-1.0.0.tgz",
        "shasum": hashlib.sha1(ball).hexdigest(),
        "integrity": "sha512-" + base64.b64encode(hashlib.sha512(ball).digest()).decode(),
    }
    document = {
        "name": "halves",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {**manifest, "dist": dist}},
        "time": {"created": "2020-01-01T00:00:00.000Z", "1.0.0": "2020-01-01T00:00:00.000Z", "modified": "2020-01-01T00:00:00.000Z"},
    }
    return {"/npm/halves": json.dumps(document).encode(), "/npm/halves-1.0.0.tgz": ball}


def pip():
    wheel = zipped(
        {
            "halves.py": "def half(number):\n    return number / 2\n",
            "halves-1.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: halves\nVersion: 1.0.0\n",
            "halves-1.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "halves-1.0.0.dist-info/RECORD": "halves.py,,\nhalves-1.0.0.dist-info/METADATA,,\nhalves-1.0.0.dist-info/WHEEL,,\nhalves-1.0.0.dist-info/RECORD,,\n",
        }
    )
    name = "halves-1.0.0-py3-none-any.whl"
    page = f'<!DOCTYPE html><html><body><a href="/files/{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a></body></html>'
    return {"/simple/halves/": page.encode(), f"/files/{name}": wheel}


def cargo(base):
    crate = tar(
        "halves-1.0.0",
        {
            "Cargo.toml": '[package]\nname = "halves"\nversion = "1.0.0"\nedition = "2021"\n',
            "src/lib.rs": "pub fn half(number: f64) -> f64 { number / 2.0 }\n",
        },
    )
    line = {"name": "halves", "vers": "1.0.0", "deps": [], "cksum": hashlib.sha256(crate).hexdigest(), "features": {}, "yanked": False}
    return {
        "/index/config.json": json.dumps({"dl": f"{base}/crates"}).encode(),
        "/index/ha/lv/halves": (json.dumps(line) + "\n").encode(),
        "/crates/halves/1.0.0/download": crate,
    }


def go():
    module = "stand.example/halves"
    text = f"module {module}\n\ngo 1.18\n"
    ball = zipped({f"{module}@v1.0.0/go.mod": text, f"{module}@v1.0.0/halves.go": "package halves\n\nfunc Half(number float64) float64 { return number / 2 }\n"})
    info = json.dumps({"Version": "v1.0.0", "Time": "2020-01-01T00:00:00Z"}).encode()
    at = f"/go/{module}/@v"
    return {f"{at}/list": b"v1.0.0\n", f"{at}/v1.0.0.info": info, f"{at}/v1.0.0.mod": text.encode(), f"{at}/v1.0.0.zip": ball}


def maven(path):
    """A file of a repository of Maven's, or its sum: ours lie in this folder."""
    name, summed = path.removesuffix(".sha1"), path.endswith(".sha1")
    for root in (os.getcwd(), MAVEN):
        file = os.path.realpath(f"{root}/{name}")
        if ".." not in name.split("/") and os.path.isfile(file):
            with open(file, "rb") as opened:
                body = opened.read()
            return hashlib.sha1(body).hexdigest().encode() if summed else body
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        body = maven(path.removeprefix("/maven/")) if path.startswith("/maven/") else self.server.files.get(path)
        with open("requests.log", "a") as log:
            log.write(f"{self.path}\n")
        self.send_response(404 if body is None else 200)
        kind = "text/html" if self.path.startswith("/simple/") else "application/json" if self.path == "/npm/halves" else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("ETag", '"1"')
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
base = f"http://127.0.0.1:{server.server_port}"
server.files = {**npm(base), **pip(), **cargo(base), **go()}
print(server.server_port, flush=True)
server.serve_forever()
