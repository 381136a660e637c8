"""A server that speaks MongoDB's protocol (OP_MSG and OP_QUERY) with what lies in memory, for drivers that need one. Prints its port, then each command that it does."""
import socket, struct, threading

import bson

stored = {}
lock = threading.Lock()
HELLO = {"ismaster": True, "isWritablePrimary": True, "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000,
         "minWireVersion": 0, "maxWireVersion": 17, "readOnly": False, "ok": 1.0}


def matches(document, query):
    return all(document.get(name) == value for name, value in query.items())


def done(command, lists):
    name = next(iter(command))
    base = command.get("$db", "")
    space = f"{base}.{command[name]}"
    if name.lower() in ("hello", "ismaster"):
        return HELLO
    print(name, space if isinstance(command[name], str) else base, flush=True)
    with lock:
        documents = stored.setdefault(space, []) if isinstance(command[name], str) else []
        if name == "insert":
            new = lists.get("documents", command.get("documents", []))
            documents.extend(new)
            return {"n": len(new), "ok": 1.0}
        if name == "delete":
            count = 0
            for delete in lists.get("deletes", command.get("deletes", [])):
                found = [document for document in documents if matches(document, delete["q"])]
                for document in found[:delete["limit"] or None]:
                    documents.remove(document)
                    count += 1
            return {"n": count, "ok": 1.0}
        if name == "find":
            found = [document for document in documents if matches(document, command.get("filter", {}))]
            return {"cursor": {"id": bson.Int64(0), "ns": space, "firstBatch": found[:command.get("limit", 0) or None]}, "ok": 1.0}
        if name == "aggregate":
            return {"cursor": {"id": bson.Int64(0), "ns": space, "firstBatch": [{"_id": 1, "n": len(documents)}] if documents else []}, "ok": 1.0}
        if name == "drop":
            stored.pop(space, None)
        if name == "dropDatabase":
            for known in [known for known in stored if known.startswith(base + ".")]:
                del stored[known]
    return {"ok": 1.0}


def read(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def serve(stream):
    try:
        while True:
            length, number, _, kind = struct.unpack("<iiii", read(stream, 16))
            body = read(stream, length - 16)
            if kind == 2013:
                flags, rest, command, lists = struct.unpack("<I", body[:4])[0], body[4:], None, {}
                while rest:
                    size = struct.unpack("<i", rest[1:5])[0]
                    if rest[0] == 0:
                        command = bson.decode(rest[1:1 + size])
                    else:
                        end = rest.index(b"\0", 5)
                        lists[rest[5:end].decode()] = bson.decode_all(rest[end + 1:1 + size])
                    rest = rest[1 + size:]
                answer = bson.encode(done(command, lists))
                if flags & 2 == 0:
                    stream.sendall(struct.pack("<iiiiIB", 21 + len(answer), 0, number, 2013, 0, 0) + answer)
            else:
                end = body.index(b"\0", 4)
                answer = bson.encode(done(bson.decode(body[end + 9:]), {}))
                stream.sendall(struct.pack("<iiiiiqii", 36 + len(answer), 0, number, 1, 8, 0, 0, 1) + answer)
    except (EOFError, OSError):
        stream.close()


listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
