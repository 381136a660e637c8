"""What a process of the box does with what it has made and with what was there before, where nobody takes the calls that come to the file gate: they
end with EINTR then, as a `restart_syscall` with nothing to go on with does. Says of each deed what became of it."""
import ctypes, errno, os, sys

libc = ctypes.CDLL(None, use_errno=True)
OPENAT, UNLINK, RMDIR, RENAME, MKDIR, LINK, CREAT, FTRUNCATE, UNLINKAT = 257, 87, 84, 82, 83, 86, 85, 77, 263
HERE, REMOVEDIR = -100, 0x200


def tried(name, number, *arguments):
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *arguments)
    print(name, "passed" if value >= 0 else errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()), flush=True)
    return value


def opened(name, path, flags):
    fd = tried(name, OPENAT, HERE, path, flags, 0o600)
    if fd >= 0:
        os.write(fd, b"mine")
        os.close(fd)


os.chdir(sys.argv[1])
# What was there before.
opened("write", b"kept", os.O_WRONLY)
opened("append", b"kept", os.O_WRONLY | os.O_APPEND)
opened("cut", b"kept", os.O_RDWR | os.O_TRUNC)
opened("creat", b"kept", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
opened("empty", b"empty", os.O_WRONLY | os.O_CREAT)
tried("readcut", OPENAT, HERE, b"kept", os.O_RDONLY | os.O_TRUNC, 0)
tried("unlink", UNLINK, b"kept")
tried("unlinkat", UNLINKAT, HERE, b"other", 0)
tried("alias", UNLINK, b"alias")
tried("rmdir", RMDIR, b"folder")
tried("rmdirat", UNLINKAT, HERE, b"folder", REMOVEDIR)
# Nobody but the file gate does these, whatever they are done to.
opened("make", b"new", os.O_RDWR | os.O_CREAT)
tried("rename", RENAME, b"new", b"newer")
tried("over", RENAME, b"new", b"kept")
tried("link", LINK, b"new", b"link")
# Its own.
opened("again", b"new", os.O_WRONLY)
opened("shorter", b"new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
opened("newcreat", b"new", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
tried("remove", UNLINK, b"new")
opened("exclusive", b"new", os.O_RDWR | os.O_CREAT | os.O_EXCL)
tried("removeat", UNLINKAT, HERE, b"new", 0)
# A name that is free again is another thing's.
if sys.argv[2:] == ["lost"]:
    opened("made", b"lost", os.O_RDWR | os.O_CREAT)
    os.sync()
    print("ready", flush=True)
    sys.stdin.readline()
    opened("unmarked", b"lost", os.O_WRONLY)
    tried("forgotten", UNLINK, b"lost")
