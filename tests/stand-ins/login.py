"""A far side that hands out tokens, over TLS: OAuth (form, JSON), cookies with a token against forged requests, a registry's token service, AWS's token service.
What it handed out goes to tokens.log, each request's head and body to heads.log."""
import asyncio, base64, json, secrets, ssl, sys, urllib.parse as u, zlib

SECRET = sys.argv[1]
heads = open("heads.log", "a", buffering=1)
handed = open("tokens.log", "a", buffering=1)
live, sessions, keys = set(), {}, {}


def new(prefix, kind=live):
    token = prefix + secrets.token_hex(20)
    handed.write(token + "\n")
    kind.add(token) if kind is live else None
    return token


def jwt():
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    token = f'{part({"alg": "HS256"})}.{part({"sub": "agent", "exp": 4102444800})}.{secrets.token_hex(24)}'
    handed.write(token + "\n")
    live.add(token)
    return token


def grant(headers, form):
    """The OAuth endpoint: who may have a token."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    client = base64.b64decode(value).decode().partition(":")[2] if scheme == "Basic" else form.get("client_secret")
    match form.get("grant_type"):
        case "client_credentials":
            return client == SECRET
        case "password":
            return form.get("password") == SECRET
        case "refresh_token":
            return form.get("refresh_token") in live
    return False


def answer(method, path, query, headers, body):
    """Status, headers, body."""
    kind = headers.get("content-type", "").split(";")[0]
    form = json.loads(body) if kind == "application/json" else dict(u.parse_qsl(body.decode())) if "urlencoded" in kind else {}
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    cookies = dict(pair.strip().split("=", 1) for pair in headers.get("cookie", "").split(";") if "=" in pair)
    say = lambda status, value, *more: (status, [("content-type", "application/json"), *more], json.dumps(value).encode())
    match path:
        case "/oauth/token":
            if not grant(headers, form):
                return say(401, {"error": "invalid_client"})
            access = jwt() if "jwt" in query else new("at-")
            value = {"access_token": access, "refresh_token": new("rt-"), "id_token": jwt(), "token_type": "Bearer", "expires_in": 3600, "scope": "read", "note": access}
            if "slashed" in query:
                text = json.dumps(value).replace(access, access.replace("a", "\\u0061"))
                return 200, [("content-type", "application/json")], text.encode()
            if "gzip" in query:
                squeeze = zlib.compressobj(wbits=31)
                return 200, [("content-type", "application/json"), ("content-encoding", "gzip")], squeeze.compress(json.dumps(value).encode()) + squeeze.flush()
            if "long" in query:
                return say(200, {"filler": "x" * 300000, **value})
            return say(200, value)
        case "/echo-token":
            return say(200, {"access_token": form.get("echo", ""), "kept": "yes"})
        case "/login":
            if form.get("password") != SECRET:
                return say(401, {"error": "who are you"})
            session, csrf = new("sess."), new("csrf")
            sessions[session] = csrf
            return say(200, {"ok": True}, ("set-cookie", f"session={session}; Path=/; HttpOnly"), ("set-cookie", f"csrftoken={csrf}; Path=/"))
        case "/change":
            csrf = sessions.pop(cookies.get("session", ""), None)
            if csrf is None or headers.get("x-csrftoken") != csrf or cookies.get("csrftoken") != csrf:
                return say(403, {"error": "no session"})
            session = new("sess.")
            sessions[session] = csrf
            return say(200, {"changed": True}, ("set-cookie", f"session={session}; Path=/; HttpOnly"))
        case "/token":
            return say(200, {"token": new("reg")}) if headers.get("authorization", "").startswith("Basic ") else say(401, {})
        case "/me":
            return say(200, {"me": "agent", "said": headers["authorization"]}) if bearer in live else say(401, {"error": "unknown token"})
        case "/sts":
            key, secret, session = "ASIA" + secrets.token_hex(8).upper(), new(""), new("FwoG")
            keys[key] = secret
            with open("key.json", "w") as out:
                json.dump({"secret": secret, "session": session}, out)
            xml = f"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{session}</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>"
            return 200, [("content-type", "text/xml")], xml.encode()
    return say(200, {"path": path})


async def connection(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            heads.write(json.dumps({"method": method, "target": target, "headers": headers, "body": body.decode("latin-1")}) + "\n")
            path, _, query = target.partition("?")
            status, more, payload = answer(method, path, query, headers, body)
            lines = "".join(f"{name}: {value}\r\n" for name, value in more)
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(payload)}\r\n\r\n".encode() + payload)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
