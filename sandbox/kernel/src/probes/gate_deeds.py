"""What only the file gate may do, tried by a process of the box's cgroup without it. Says of each deed what became of it."""
import ctypes, errno, mmap, os, posix, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])


def call(number, *arguments):
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *arguments)
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


def by_ring(path, flags):
    """unlinkat(path) by io_uring; the flag 0x10 has a worker do it."""
    setup = ctypes.create_string_buffer(120)
    ring = call(425, ctypes.c_uint(4), setup)
    entries, answers = struct.unpack_from("II", setup)
    submit = struct.unpack_from("7I", setup, 40)
    done = struct.unpack_from("6I", setup, 80)
    queues = mmap.mmap(ring, max(submit[6] + 4 * entries, done[5] + 16 * answers))
    requests = mmap.mmap(ring, 64 * entries, offset=0x10000000)
    name = ctypes.create_string_buffer(path.encode())
    requests[0:64] = struct.pack("<BBHiQQIIQ24x", 36, flags, 0, -100, 0, ctypes.addressof(name), 0, 0, 0)
    struct.pack_into("I", queues, submit[6], 0)
    struct.pack_into("I", queues, submit[1], 1)
    call(426, ring, 1, 1, 1, None, 0)
    result = struct.unpack_from("i", queues, done[5] + 8)[0]
    os.close(ring)
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def tried(name, deed):
    try:
        deed()
        print(name, "passed")
    except OSError as error:
        print(name, errno.errorcode[error.errno])


def made():
    fd = os.open("new", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"mine")
    os.close(fd)


def nameless():
    os.write(os.open(".", os.O_TMPFILE | os.O_RDWR), b"mine")


def queue():
    """A queue that is there is a file of a size."""
    name = b"agentbox-gate-%d" % os.getpid()
    for flags in (os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR):
        call(240, name, flags, 0o600, None)
    call(241, name)


# An owner who may read and write; all others may read.
ACL = struct.pack("<IHHIHHIHHI", 2, 1, 6, 0xFFFFFFFF, 4, 4, 0xFFFFFFFF, 0x20, 4, 0xFFFFFFFF)

tried("unlink", lambda: os.unlink("kept"))
tried("rmdir", lambda: os.rmdir("folder"))
tried("rename", lambda: os.rename("kept", "moved"))
tried("over", lambda: os.rename("other", "kept"))
tried("link", lambda: os.link("kept", "alias"))
tried("truncate", lambda: os.truncate("kept", 0))
tried("ftruncate", lambda: os.ftruncate(3, 0))
tried("write", lambda: os.open("kept", os.O_WRONLY))
tried("cut", lambda: os.open("kept", os.O_RDONLY | os.O_TRUNC))
tried("mode", lambda: os.chmod("kept", 0))
tried("owner", lambda: os.chown("kept", 1, 1))
tried("now", lambda: os.utime("kept"))
tried("times", lambda: os.utime("kept", (1, 1)))
tried("attribute", lambda: os.setxattr("kept", "user.agentbox", b"1"))
tried("unset", lambda: os.removexattr("other", "user.agentbox"))
tried("acl", lambda: os.setxattr("kept", "system.posix_acl_access", ACL))
tried("ring", lambda: by_ring("kept", 0))
tried("worker", lambda: by_ring("kept", 0x10))
tried("read", lambda: os.close(os.open("kept", os.O_RDONLY)))
tried("made", made)
tried("folder", lambda: os.mkdir("made"))
tried("symlink", lambda: os.symlink("kept", "sym"))
tried("nameless", nameless)
tried("null", lambda: os.close(os.open("/dev/null", os.O_RDWR)))
tried("queue", queue)
