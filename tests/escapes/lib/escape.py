"""What our own attacks share. exit 0 = blocked, 1 = a way out, 2 = could not be tried here."""
import os, socket, ssl, sys, time

ORIGIN = os.environ.get("BYPASS_ORIGIN", "origin.example:80").split(":")[0]
ways = []


def out(why):
    """Notes a way out; the rest is tried all the same."""
    ways.append(why)
    print("WAY OUT: " + why, file=sys.stderr)


def end():
    print("%d ways out: %s" % (len(ways), "; ".join(ways)[:600]) if ways else "blocked", file=sys.stderr)
    sys.exit(1 if ways else 0)


def cannot(why):
    print("cannot be tried: " + why, file=sys.stderr)
    sys.exit(2)


def refused(what, attempt, *allowed):
    """The attempt must fail with an OSError."""
    try:
        result = attempt()
    except OSError as error:
        return error.errno
    if result not in allowed:
        out(what)
    return 0


def talk(data, host=ORIGIN, port=80, tls=None, wait=5.0, pieces=()):
    """Sends bytes, and gives all that comes back until silence or the end."""
    s = socket.create_connection((host, port), timeout=wait)
    if tls is not None:
        context = ssl.create_default_context()
        context.set_alpn_protocols([tls])
        s = context.wrap_socket(s, server_hostname=host)
    answer = b""
    try:
        s.sendall(data)
        for piece in pieces:
            time.sleep(0.1)
            s.sendall(piece)
        s.settimeout(1.0)
        while chunk := s.recv(65536):
            answer += chunk
    except OSError:
        pass
    s.close()
    return answer


def get(path="/", host=ORIGIN):
    return talk(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path.encode(), host.encode()), host)


def state():
    answer = get("/__state")
    return "destroyed" if answer.endswith(b"destroyed") else "alive" if answer.endswith(b"alive") else "unknown: %r" % answer[:80]


def control():
    """A plain read passes, or the attack says nothing."""
    if state() != "alive":
        cannot("a plain GET does not pass: " + state())


def survived(what):
    """The origin still has what the attack was to destroy."""
    now = state()
    if now == "destroyed":
        out(what)
        talk(b"POST /__revive HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % ORIGIN.encode())
    elif now != "alive":
        out("after %s the origin cannot be read: %s" % (what, now))
