"""The far side of the end-to-end tests: HTTP/1.1 in the clear and over TLS. Each request line goes to requests.log before anything is answered."""
import asyncio, hashlib, json, os, socket, ssl, struct

log = open("requests.log", "a", buffering=1)
heads = open("heads.log", "a", buffering=1)
connections = open("connections.log", "a", buffering=1)
gathered = {}
acknowledged = {}
CHUNK = 256 << 10


def signal_of(table, key):
    return table.setdefault(key, asyncio.Event())


async def body(reader, headers, writer):
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0:
                while (await reader.readline()).strip():
                    pass
                return
            left = size
            while left:
                piece = await reader.read(min(left, CHUNK))
                if not piece:
                    raise ConnectionError
                left -= len(piece)
                yield piece
            await reader.readline()
    left = int(headers.get("content-length", 0))
    while left:
        piece = await reader.read(min(left, CHUNK))
        if not piece:
            raise ConnectionError
        left -= len(piece)
        yield piece


async def say(writer, status, payload, kind="text/plain"):
    if isinstance(payload, str):
        payload = payload.encode()
    writer.write(f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(payload)}\r\n\r\n".encode() + payload)
    await writer.drain()


async def git(method, path, query, headers, reader, writer):
    whole = b"".join([piece async for piece in body(reader, headers, writer)])
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.getcwd(), "GIT_PROJECT_ROOT": os.path.join(os.getcwd(), "git"), "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path[len("/git"):], "QUERY_STRING": query, "REQUEST_METHOD": method, "REMOTE_USER": "tester", "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": headers.get("content-type", ""), "CONTENT_LENGTH": str(len(whole)), "GIT_PROTOCOL": headers.get("git-protocol", ""),
        "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
    }
    backend = await asyncio.create_subprocess_exec("git", "http-backend", env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    answer, _ = await backend.communicate(whole)
    head, _, payload = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    status = next((line[8:] for line in lines if line.lower().startswith("status: ")), "200 OK")
    rest = "".join(line + "\r\n" for line in lines if line and not line.lower().startswith("status: "))
    writer.write(f"HTTP/1.1 {status}\r\n{rest}content-length: {len(payload)}\r\n\r\n".encode() + payload)
    await writer.drain()


def reset(writer):
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def one(reader, writer):
    """Answers one request; true where another may follow."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return False
    first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in rest)}
    path, _, query = target.partition("?")
    log.write(f"{method} {target}\n")
    heads.write(json.dumps({"method": method, "target": target, "headers": headers}) + "\n")
    words = path.strip("/").split("/")
    if words[0] == "private":
        # As git servers do: nothing is told before somebody has shown who they are.
        if "authorization" not in headers:
            async for piece in body(reader, headers, writer):
                pass
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\"\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return True
        path = path[len("/private"):]
        words = words[1:]
    if words[0] == "git":
        await git(method, path, query, headers, reader, writer)
        return True
    digest, size = hashlib.sha256(), 0
    async for piece in body(reader, headers, writer):
        size += len(piece)
        if size <= 16 << 20:
            digest.update(piece)
    match words[0]:
        case "gather":
            state = gathered.setdefault(path, [0, asyncio.Event()])
            state[0] += 1
            if state[0] == int(words[1]):
                state[1].set()
            await state[1].wait()
            await say(writer, "200 OK", "gathered")
        case "bytes":
            left = int(words[1])
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {left}\r\n\r\n".encode())
            block = bytes(range(256)) * (CHUNK // 256)
            while left:
                piece = block[: min(left, CHUNK)]
                writer.write(piece)
                left -= len(piece)
                await writer.drain()
        case "events":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for number in range(5):
                event = f"data: {number}\n\n".encode()
                writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                await writer.drain()
                # The next one is sent only when the client says that it has seen this one.
                await signal_of(acknowledged, number).wait()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        case "seen":
            signal_of(acknowledged, int(words[1])).set()
            await say(writer, "200 OK", "noted")
        case "hang":
            await asyncio.sleep(3600)
        case "lie":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort")
            await writer.drain()
            return False
        case "reset":
            reset(writer)
            return False
        case "garbage":
            writer.write(b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n")
            await writer.drain()
            return False
        case "drop":
            return False
        case "two-lengths":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\nhello")
            await writer.drain()
            return False
        case _ if method == "HEAD":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
            await writer.drain()
        case _:
            facts = {"method": method, "target": target, "size": size, "sha256": digest.hexdigest(), "headers": headers}
            await say(writer, "200 OK", json.dumps(facts), "application/json")
    return True


async def connection(reader, writer):
    connections.write("one\n")
    try:
        while await one(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    context.set_alpn_protocols(["http/1.1"])
    clear = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 20, backlog=2048)
    tls = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context, limit=1 << 20, backlog=2048)
    print(clear.sockets[0].getsockname()[1], tls.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(clear.serve_forever(), tls.serve_forever())


asyncio.run(main())
