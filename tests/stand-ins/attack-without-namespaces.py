"""What an agent may try in a box without namespaces, one line a try: its name, and `done` or what refused it.

Names that begin with `may-` are to be done, all others are to be refused.
"""

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
import threading

ROOT, PORT, SLEEPER, SERVICE = sys.argv[1].rstrip("/"), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
libc = ctypes.CDLL(None, use_errno=True)
OUT = ROOT + "/outside"


def attempt(name, work):
    try:
        result = work()
        print(name, "done" if result is None or result is True else f"refused: {result}", flush=True)
    except OSError as error:
        print(name, f"refused: {errno.errorcode.get(error.errno, error)}", flush=True)
    except Exception as error:  # anything else is a fault of this script
        print(name, f"refused: {error!r}", flush=True)


def system(number, *arguments):
    answer = libc.syscall(number, *arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "")
    return None


def write(path, flags=os.O_WRONLY):
    fd = os.open(path, flags, 0o600)
    os.write(fd, b"changed")
    os.close(fd)


def read(path):
    with open(path, "rb") as file:
        file.read(1)


# Files outside of the workspace.
attempt("write-outside", lambda: write(OUT))
attempt("append-outside", lambda: write(OUT, os.O_WRONLY | os.O_APPEND))
attempt("truncate-by-opening", lambda: os.close(os.open(OUT, os.O_RDONLY | os.O_TRUNC)))
attempt("truncate-outside", lambda: os.truncate(OUT, 0))
attempt("create-outside", lambda: write(ROOT + "/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
attempt("create-for-reading", lambda: os.close(os.open(ROOT + "/new", os.O_RDONLY | os.O_CREAT)))
attempt("unnamed-outside", lambda: os.close(os.open(ROOT, os.O_TMPFILE | os.O_RDWR)))
attempt("create-in-tmp", lambda: write("/tmp/agentbox-must-not", os.O_WRONLY | os.O_CREAT))
attempt("list-tmp", lambda: os.listdir("/tmp"))
attempt("mkdir-outside", lambda: os.mkdir(ROOT + "/folder"))
attempt("symlink-outside", lambda: os.symlink("x", ROOT + "/link"))
attempt("fifo-outside", lambda: os.mkfifo(ROOT + "/fifo"))
attempt("unlink-outside", lambda: os.unlink(OUT))
attempt("rename-outside", lambda: os.rename(OUT, ROOT + "/moved"))
attempt("rename-in", lambda: os.rename(OUT, "moved"))
attempt("rename-over", lambda: (write("mine", os.O_WRONLY | os.O_CREAT), os.rename("mine", OUT))[1])
attempt("link-in", lambda: os.link(OUT, "alias"))
attempt("chmod-outside", lambda: os.chmod(OUT, 0o777))
attempt("chmod-by-descriptor", lambda: os.fchmod(os.open(ROOT + "/home/plain", os.O_RDONLY), 0o777))
attempt("utime-outside", lambda: os.utime(ROOT + "/home/plain", (1, 1)))
attempt("xattr-outside", lambda: os.setxattr(ROOT + "/home/plain", "user.x", b"x"))
attempt("chown-outside", lambda: os.chown(ROOT + "/home/plain", os.getuid(), os.getgid()))
attempt("flags-outside", lambda: fcntl.ioctl(os.open(ROOT + "/home/plain", os.O_RDONLY), 0x40086602, struct.pack("l", 0x80)))
os.symlink(OUT, "way-out")
attempt("write-by-link", lambda: write("way-out"))
attempt("chmod-by-link", lambda: os.chmod("way-out", 0o777))
attempt("write-by-dots", lambda: write("../outside"))
attempt("may-read-outside", lambda: read(ROOT + "/home/plain"))
attempt("may-write-inside", lambda: write("fresh", os.O_WRONLY | os.O_CREAT))
attempt("may-write-private", lambda: write(os.environ["TMPDIR"] + "/fresh", os.O_WRONLY | os.O_CREAT))
attempt("may-chmod-private", lambda: os.chmod(os.environ["TMPDIR"] + "/fresh", 0o640))
attempt("may-unlink-private", lambda: os.unlink(os.environ["TMPDIR"] + "/fresh"))
attempt("leave-private-by-link", lambda: (os.symlink(OUT, os.environ["TMPDIR"] + "/l"), write(os.environ["TMPDIR"] + "/l"))[1])

# What is hidden, and what is kept in the workspace.
attempt("read-secret", lambda: read(ROOT + "/home/.ssh/id"))
attempt("list-secrets", lambda: os.listdir(ROOT + "/home/.ssh"))
attempt("link-secret", lambda: os.link(ROOT + "/home/.ssh/id", "secret"))
attempt("read-state", lambda: os.listdir(ROOT + "/state/agentbox"))
attempt("write-config", lambda: write(".git/config"))
attempt("replace-config", lambda: (write("c", os.O_WRONLY | os.O_CREAT), os.rename("c", ".git/config"))[1])
attempt("alias-config", lambda: os.link(".git/config", "alias"))
attempt("move-git", lambda: os.rename(".git", "git"))
attempt("exchange-git", lambda: (os.makedirs("g2", exist_ok=True), system(316, -100, b".git", -100, b"g2", 2))[1])
attempt("make-hook", lambda: write(".git/hooks/post-commit", os.O_WRONLY | os.O_CREAT))
attempt("folder-in-hooks", lambda: os.mkdir(".git/hooks/x"))
attempt("chmod-hook", lambda: os.chmod(".git/hooks/pre-commit", 0o777))
attempt("remove-tree", lambda: os.rmdir(ROOT + "/work"))
attempt("may-write-beside", lambda: write(".git/description", os.O_WRONLY | os.O_CREAT))

# Other processes, and through them other files.
attempt("signal-outside", lambda: os.kill(SLEEPER, signal.SIGTERM))
attempt("signal-parent", lambda: os.kill(int(open(f"/proc/{os.getppid()}/stat").read().rsplit(")", 1)[1].split()[1]), 9))
attempt("environment-outside", lambda: read(f"/proc/{SLEEPER}/environ"))
attempt("memory-outside", lambda: os.close(os.open(f"/proc/{SLEEPER}/mem", os.O_RDWR)))
attempt("files-of-others", lambda: write(f"/proc/{SLEEPER}/cwd/by-another", os.O_WRONLY | os.O_CREAT))
attempt("chmod-by-others", lambda: os.chmod(f"/proc/{SLEEPER}/root{OUT}", 0o777))
attempt("limits-outside", lambda: system(302, SLEEPER, 7, struct.pack("QQ", 1, 1), 0))
attempt("priority-outside", lambda: os.setpriority(os.PRIO_PROCESS, SLEEPER, 19))
attempt("affinity-outside", lambda: os.sched_setaffinity(SLEEPER, {0}))
attempt("ptrace-outside", lambda: system(101, 0x4206, SLEEPER, 0, 0))


def by_its_folder():
    os.chdir(f"/proc/{SLEEPER}")
    try:
        os.chmod("root" + OUT, 0o777)
    finally:
        os.chdir(ROOT + "/work")


attempt("chmod-from-others-folder", by_its_folder)
attempt("namespace", lambda: system(272, 0x10000000))
attempt("shared-memory", lambda: system(29, 0, 4096, 0o1600))
attempt("message-queue", lambda: system(240, b"x", os.O_CREAT | os.O_RDWR, 0o600, 0))

# The network.
INET, STREAM = socket.AF_INET, socket.SOCK_STREAM


def connect(address, family=INET):
    with socket.socket(family, STREAM) as s:
        s.settimeout(5)
        s.connect(address)


attempt("service-of-the-machine", lambda: connect(("127.0.0.1", PORT)))
attempt("service-by-any", lambda: connect(("0.0.0.0", PORT)))
attempt("service-by-ipv6", lambda: connect(("::ffff:127.0.0.1", PORT), socket.AF_INET6))
attempt("datagram", lambda: socket.socket(INET, socket.SOCK_DGRAM).close())
attempt("datagram-ipv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close())
attempt("unix-datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).close())
attempt("unix-pair-of-datagrams", lambda: [s.close() for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)] and None)
attempt("fast-open", lambda: socket.socket(INET, STREAM).sendto(b"x", 0x20000000, ("127.0.0.1", PORT)) and None)
attempt("source-route", lambda: socket.socket(INET, STREAM).setsockopt(socket.IPPROTO_IP, 4, bytes([131, 7, 4, 8, 8, 8, 8, 0])))
attempt("socket-of-others", lambda: connect(SERVICE, socket.AF_UNIX))
attempt("socket-by-link", lambda: (os.symlink(SERVICE, "s-link"), connect("s-link", socket.AF_UNIX))[1])
attempt("abstract", lambda: connect(b"\0agentbox-nobody", socket.AF_UNIX))
attempt("bind-abstract", lambda: socket.socket(socket.AF_UNIX, STREAM).bind(b"\0agentbox-x"))
attempt("bind-outside", lambda: socket.socket(socket.AF_UNIX, STREAM).bind(ROOT + "/s"))
attempt("bind-address", lambda: socket.socket(INET, STREAM).bind(("192.0.2.1", 0)))


def own_port(family, address, to):
    with socket.socket(family, STREAM) as server:
        server.bind((address, 0))
        server.listen()
        host, port = server.getsockname()[:2]
        if host not in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            return host
        with socket.create_connection((to, port), timeout=5) as client:
            other, _ = server.accept()
            client.sendall(b"x")
            return other.recv(1) == b"x"


def never_bound():
    with socket.socket(INET, STREAM) as server:
        server.listen()
        return server.getsockname()[0] == "127.0.0.1"


def own_file(path):
    with socket.socket(socket.AF_UNIX, STREAM) as server:
        server.bind(path)
        server.listen()
        connect(path, socket.AF_UNIX)
        server.accept()
    os.unlink(path)


attempt("may-own-port", lambda: own_port(INET, "127.0.0.1", "127.0.0.1"))
attempt("may-own-port-of-any", lambda: own_port(INET, "0.0.0.0", "127.0.0.1"))
attempt("may-own-port-of-ipv6", lambda: own_port(socket.AF_INET6, "::", "127.0.0.1"))
attempt("may-listen-unbound", never_bound)
attempt("may-own-socket-file", lambda: own_file("own.sock"))
attempt("may-own-private-socket-file", lambda: own_file(os.environ["TMPDIR"] + "/own.sock"))


def race():
    """Another thread changes the address while it is connected to: the service of the machine must never be reached."""
    buffer = ctypes.create_string_buffer(16)
    good = struct.pack("=H", INET) + struct.pack(">H", 9) + socket.inet_aton("192.0.2.9") + bytes(8)
    bad = struct.pack("=H", INET) + struct.pack(">H", PORT) + socket.inet_aton("127.0.0.1") + bytes(8)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            ctypes.memmove(buffer, bad, 16)
            ctypes.memmove(buffer, good, 16)

    thread = threading.Thread(target=flip, daemon=True)
    thread.start()
    try:
        for _ in range(1000):
            with socket.socket(INET, STREAM) as s:
                if libc.connect(s.fileno(), buffer, 16) != 0:
                    continue
                try:
                    if s.getpeername()[1] == PORT:
                        return None
                except OSError:
                    # The broker has let go of it already.
                    pass
        return "never reached"
    finally:
        stop.set()
        thread.join()


attempt("race-of-addresses", race)
