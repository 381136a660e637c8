"""What an agent tries on the secrets of its workspace (`.env`, `deep/keys`), and the work beside them that goes on; one line each."""

import ctypes
import os
import shutil
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = 0x1000, 0x400


def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def attempt(name, act):
    try:
        act()
        print(name, "done")
    except (OSError, subprocess.CalledProcessError) as error:
        print(name, "refused", type(error).__name__, getattr(error, "errno", ""))


def read(path):
    with open(path) as file:
        print("READ", file.read())


def written(path, text="x"):
    with open(path, "w") as file:
        file.write(text)


def by_number(how):
    bare = os.open(".env", os.O_PATH)
    how(bare)


def linked_then_read(make):
    make()
    read("alias")


def moved(what, to, then):
    os.rename(what, to)
    read(then)


def found_by_folder():
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    print("READ", os.read(os.open(".env", os.O_RDONLY, dir_fd=folder), 100))


os.mkdir("granted")
attempt("read", lambda: read(".env"))
attempt("read-deep", lambda: read("deep/keys/one"))
attempt("list-deep", lambda: os.listdir("deep/keys"))
attempt("read-by-folder", found_by_folder)
attempt("read-by-dots", lambda: read("deep/../.env"))
attempt("read-by-proc", lambda: by_number(lambda fd: read(f"/proc/self/fd/{fd}")))
attempt("read-by-cwd", lambda: read("/proc/self/cwd/.env"))
attempt("read-and-write", lambda: os.open(".env", os.O_RDWR))
attempt("read-or-make", lambda: os.open(".env", os.O_RDONLY | os.O_CREAT))
attempt("append", lambda: os.open(".env", os.O_WRONLY | os.O_APPEND))
attempt("link", lambda: os.link(".env", "alias"))
attempt("link-deep", lambda: os.link("deep/keys/one", "old/alias"))
attempt("link-by-number", lambda: by_number(lambda fd: called(libc.linkat(fd, b"", -100, b"alias", AT_EMPTY_PATH))))
attempt("link-by-proc", lambda: by_number(lambda fd: called(libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, b"alias", AT_SYMLINK_FOLLOW))))
attempt("symlink-then-read", lambda: linked_then_read(lambda: os.symlink(".env", "alias")))
attempt("move", lambda: moved(".env", "old/env", "old/env"))
attempt("move-deep", lambda: moved("deep", "old/deep", "old/deep/keys/one"))
attempt("move-its-folder", lambda: moved("deep/keys", "old/keys", "old/keys/one"))
attempt("exchange", lambda: called(libc.renameat2(-100, b"old", -100, b"deep", 2)))
attempt("replace", lambda: os.rename("try.py", ".env"))
attempt("remove", lambda: os.unlink(".env"))
attempt("remove-deep", lambda: shutil.rmtree("deep/keys"))
attempt("truncate", lambda: os.truncate(".env", 0))
attempt("chmod", lambda: os.chmod(".env", 0o777))
attempt("run", lambda: subprocess.run(["./.env"], check=True))
attempt("may-read-beside", lambda: read("deep/beside"))
attempt("may-list", lambda: os.listdir("deep"))
attempt("may-make-and-read", lambda: (written("fresh-file", "fresh"), read("fresh-file")))
attempt("may-make-folder-and-read", lambda: (written("granted/a", "fresh"), read("granted/a"), os.listdir("granted")))
attempt("may-run-what-was-there", lambda: subprocess.run(["sh", "old/tool"], check=True))
attempt("may-walk", lambda: [open(os.path.join(root, name)).close() for root, _, names in os.walk("granted") for name in names])
attempt("may-remove-fresh", lambda: (os.unlink("fresh-file"), shutil.rmtree("granted")))
