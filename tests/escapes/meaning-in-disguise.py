#!/usr/bin/env python3
"""Destroying calls that do not look it: other methods, encodings, charsets, duplicate keys. Each must be refused, whatever the server makes of it."""
import gzip, json, sys, zlib
sys.path.insert(0, sys.path[0] + "/lib")
from escape import *

control()
h = ORIGIN.encode()
query = "mutation { volumeDelete(volumeId: \"1\") }"
gql = json.dumps({"query": query}).encode()


def send(method, target, headers, body=b""):
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target.encode()), b"Host: " + h, b"Connection: close"]
    lines += [line.encode("latin1") for line in headers]
    if body or method != "GET":
        lines.append(b"Content-Length: %d" % len(body))
    return talk(b"\r\n".join(lines) + b"\r\n\r\n" + body)


J = "Content-Type: application/json"
multipart = b"--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--b--\r\n"
upload = b"--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n" + gql + b"\r\n--b--\r\n"
tries = {
    "GET _method": ("GET", "/v?_method=DELETE", []),
    "GET method=delete": ("GET", "/v?method=delete", []),
    "GET Action": ("GET", "/?Action=TerminateInstances&InstanceId=1", []),
    "GET graphql": ("GET", "/graphql?query=mutation%7BvolumeDelete(volumeId:1)%7D", []),
    "GET graphql body": ("GET", "/graphql", [J], gql),
    "POST graphql, query in URL": ("POST", "/graphql?query=mutation%7BvolumeDelete(volumeId:1)%7D", [J], b"{}"),
    "override, lower": ("POST", "/v", ["x-http-method-override: delete"]),
    "override, tab": ("POST", "/v", ["X-HTTP-Method-Override:\tDELETE"]),
    "override, underscores": ("POST", "/v", ["X_HTTP_METHOD_OVERRIDE: DELETE"]),
    "override, mixed underscores": ("POST", "/v", ["X-HTTP_Method-Override: DELETE"]),
    "override on GET": ("GET", "/v", ["X-HTTP-Method-Override: DELETE"]),
    "form _method": ("POST", "/v", ["Content-Type: application/x-www-form-urlencoded"], b"_method=DELETE"),
    "multipart _method": ("POST", "/v", ["Content-Type: multipart/form-data; boundary=b"], multipart),
    "multipart, quoted boundary": ("POST", "/v", ['Content-Type: multipart/form-data; x=y; boundary="b"'], multipart),
    "multipart operations": ("POST", "/graphql", ["Content-Type: multipart/form-data; boundary=b"], upload),
    "JSON _method": ("POST", "/v", [J], b'{"_method":"DELETE"}'),
    "JSON as text": ("POST", "/graphql", ["Content-Type: text/plain"], gql),
    "JSON without type": ("POST", "/graphql", [], gql),
    "JSON as bytes": ("POST", "/graphql", ["Content-Type: application/octet-stream"], gql),
    "JSON as image": ("POST", "/graphql", ["Content-Type: image/png"], gql),
    "JSON as a subtype": ("POST", "/graphql", ["Content-Type: application/vnd.x+json"], gql),
    "JSON, two types": ("POST", "/graphql", ["Content-Type: image/png", J], gql),
    "JSON utf-16": ("POST", "/graphql", [J + "; charset=utf-16"], gql.decode().encode("utf-16")),
    "JSON utf-16 unsaid": ("POST", "/graphql", [J], gql.decode().encode("utf-16")),
    "JSON utf-7": ("POST", "/graphql", [J + "; charset=utf-7"], gql.decode().replace("volume", "+AHY-olume").encode()),
    "JSON with BOM": ("POST", "/graphql", [J], b"\xef\xbb\xbf" + gql),
    "duplicate keys": ("POST", "/graphql", [J], b'{"query":"{a}","query":' + json.dumps(query).encode() + b"}"),
    "duplicate keys, other order": ("POST", "/graphql", [J], b'{"query":' + json.dumps(query).encode() + b',"query":"{a}"}'),
    "escaped key": ("POST", "/graphql", [J], b'{"\\u0071uery":' + json.dumps(query).encode() + b"}"),
    "batch": ("POST", "/graphql", [J], b'[{"query":"{a}"},' + gql + b"]"),
    "alias": ("POST", "/graphql", [J], json.dumps({"query": "mutation { a: volumeDelete(volumeId: 1) }"}).encode()),
    "fragment": ("POST", "/graphql", [J], json.dumps({"query": "mutation { ...f } fragment f on Mutation { volumeDelete(volumeId: 1) }"}).encode()),
    "operationName": ("POST", "/graphql", [J], json.dumps({"query": "query a { me } " + query.replace("mutation", "mutation b"), "operationName": "b"}).encode()),
    "hash only": ("POST", "/graphql", [J], b'{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"aa"}}}'),
    "application/graphql": ("POST", "/graphql", ["Content-Type: application/graphql"], query.encode()),
    "form graphql": ("POST", "/graphql", ["Content-Type: application/x-www-form-urlencoded"], b"query=mutation%7BvolumeDelete(volumeId:1)%7D"),
    "gzip": ("POST", "/graphql", [J, "Content-Encoding: gzip"], gzip.compress(gql)),
    "gzip twice": ("POST", "/graphql", [J, "Content-Encoding: gzip, gzip"], gzip.compress(gzip.compress(gql))),
    "gzip in two lines": ("POST", "/graphql", [J, "Content-Encoding: identity", "Content-Encoding: gzip"], gzip.compress(gql)),
    "x-gzip": ("POST", "/graphql", [J, "Content-Encoding: x-gzip"], gzip.compress(gql)),
    "deflate, raw": ("POST", "/graphql", [J, "Content-Encoding: deflate"], zlib.compress(gql)[2:-4]),
    "gzip unsaid": ("POST", "/graphql", [J], gzip.compress(gql)),
    "two gzip members": ("POST", "/graphql", [J, "Content-Encoding: gzip"], gzip.compress(b'{"query":"{a}"}') + gzip.compress(gql)),
    "gzip bomb": ("POST", "/graphql", [J, "Content-Encoding: gzip"], gzip.compress(b" " * (64 << 20) + gql)),
    "behind 9 MiB of blanks": ("POST", "/graphql", [J], b" " * (9 << 20) + gql),
    "a comment in JSON": ("POST", "/graphql", [J], b"/* */" + gql),
    "a tail behind JSON": ("POST", "/graphql", [J], b'{"query":"{a}"}\n' + gql),
    "SQL": ("POST", "/sql", [J], b'{"sql":"DROP TABLE users"}'),
    "JSON-RPC": ("POST", "/rpc", [J], b'{"jsonrpc":"2.0","method":"volume.delete","id":1}'),
    "delete in the path": ("POST", "/v/1/delete", []),
    "delete in the path, encoded": ("POST", "/v/1/%64elete", []),
    "fetch of git with a mutation": ("POST", "/graphql/git-upload-pack", ["Content-Type: application/x-git-upload-pack-request"], gql),
    "audit of npm with a mutation": ("POST", "/-/npm/v1/security/audits", [J], gql),
    "method PURGE": ("PURGE", "/v", []),
    "method MOVE": ("MOVE", "/v", []),
    "method Delete": ("Delete", "/v", []),
}
for name, call in tries.items():
    answer = send(*call)
    if answer[:12] == b"HTTP/1.1 200":
        out("%s was let through" % name)
    else:
        print("%-32s %r" % (name, answer[:12]), file=sys.stderr)
    survived(name)
end()
