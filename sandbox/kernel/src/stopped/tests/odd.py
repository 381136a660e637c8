# Odd calls, one a line; what they return, and what is there afterwards, is printed. Run bare and behind the gate: the same must come out.
import ctypes, errno, os, stat, sys

libc = ctypes.CDLL(None, use_errno=True)
X = {'open': 2, 'creat': 85, 'truncate': 76, 'rename': 82, 'rmdir': 84, 'unlink': 87, 'link': 86, 'openat': 257, 'unlinkat': 263, 'renameat': 264,
     'linkat': 265, 'renameat2': 316, 'ftruncate': 77, 'fallocate': 285, 'fcntl': 72, 'chmod': 90, 'fchmod': 91, 'fchmodat': 268, 'fchmodat2': 452,
     'chown': 92, 'fchown': 93, 'lchown': 94, 'fchownat': 260, 'utime': 132, 'utimes': 235, 'futimesat': 261, 'utimensat': 280, 'setxattr': 188, 'lsetxattr': 189,
     'fsetxattr': 190, 'removexattr': 197, 'lremovexattr': 198, 'fremovexattr': 199}
A = {'truncate': 45, 'openat': 56, 'unlinkat': 35, 'linkat': 37, 'renameat2': 276, 'ftruncate': 46, 'fallocate': 47, 'fcntl': 25, 'fchmod': 52, 'fchmodat': 53, 'fchmodat2': 452,
     'fchown': 55, 'fchownat': 54, 'utimensat': 88, 'setxattr': 5, 'lsetxattr': 6, 'fsetxattr': 7, 'removexattr': 14, 'lremovexattr': 15, 'fremovexattr': 16}
NR = X if os.uname().machine == 'x86_64' else A
FD, CW = -100, -100
W, R, RW, C, E, T, A_, D, NF, NB, P = (os.O_WRONLY, os.O_RDONLY, os.O_RDWR, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY,
                                       os.O_NOFOLLOW, os.O_NONBLOCK, os.O_PATH)
TMP = os.O_TMPFILE


def show():
    found = []
    for top, folders, files in os.walk('.'):
        # Only looked through.
        folders[:] = [name for name in folders if name != 'chain']
        for name in sorted(folders + files):
            try:
                s = os.lstat(os.path.join(top, name))
            except PermissionError:
                continue
            found.append((os.path.join(top, name), stat.filemode(s.st_mode), s.st_nlink, s.st_size if stat.S_ISREG(s.st_mode) else 0))
    return sorted(found)


def call(name, *args):
    if name not in NR:
        return
    raw = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in args]
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(NR[name]), *raw)
    what = 'ok' if value >= 0 else errno.errorcode[ctypes.get_errno()]
    if name == 'fcntl' and value > 0:
        what = oct(value)
    if value > 2 and name in ('open', 'openat', 'creat'):
        # Whether links were followed is no matter of what was opened.
        flags = libc.fcntl(value, 3) & ~os.O_NOFOLLOW
        what = 'fd flags %o cloexec %d size %d' % (flags, libc.fcntl(value, 1), os.fstat(value).st_size)
        os.close(value)
    after = hash_of(show())
    print(name, [a if not isinstance(a, bytes) or len(a) < 40 else len(a) for a in args], what, after)
    return after


def hash_of(found):
    import zlib
    return zlib.crc32(repr(found).encode())


def ground():
    os.umask(0o022)
    os.mkdir('d'); os.mkdir('d/e'); os.mkdir('full'); open('full/x', 'w').write('x'); open('f', 'w').write('12345'); open('g', 'w').write('67')
    os.symlink('f', 'lf'); os.symlink('d', 'ld'); os.symlink('nowhere', 'dangling'); os.symlink('loop', 'loop'); os.symlink('a/b/c', 'deep')
    os.symlink('d/', 'ldslash'); os.symlink('nowhere/', 'danglingslash'); os.symlink(os.getcwd() + '/f', 'abs'); os.symlink('../' * 40 + os.getcwd()[1:] + '/f', 'up')
    os.mkfifo('p'); os.mkdir('shut'); open('shut/s', 'w').write('s'); os.chmod('shut', 0o500); open('ro', 'w').write('ro'); os.chmod('ro', 0o400)
    os.mkdir('blind'); open('blind/b', 'w').write('b'); os.chmod('blind', 0o600); os.mkdir('sticky'); os.chmod('sticky', 0o1777)
    os.mkdir('chain')
    import socket
    s = socket.socket(socket.AF_UNIX); s.bind('sock')
    for n in range(42):
        os.symlink('../f' if n == 0 else 'c%d' % (n - 1), 'chain/c%d' % n)


ground()
long_name, long_path, not_there = b'n' * 256, b'./' * 2048 + b'f', 12345
# Opening.
for path in (b'f', b'f/', b'f/.', b'f/x', b'd', b'd/', b'd/.', b'd/..', b'.', b'..', b'/', b'//', b'', b'nothing', b'nothing/', b'nothing/x', b'lf', b'lf/', b'ld', b'ld/',
             b'dangling', b'dangling/', b'danglingslash', b'loop', b'loop/x', b'deep', b'ldslash', b'abs', b'up', b'sock', b'ro', b'shut/s', b'shut/new', b'blind/b', b'blind/new',
             b'chain/c38', b'chain/c39', b'chain/c40', b'chain/c41', b'./././f', b'd/../f', b'd/e/../../f', b'ld/../f', b'ld/e/', b'f/../f', b'nothing/../f', long_name, long_path, b'/proc/self/cwd/f', b'/proc/self/fd/nothing',
             b'/dev/null', b'/dev/null/', b'/dev/fd', b'/proc/self/fd/12345'):
    for flags in (W, RW | A_, R | T, W | C, W | T, W | NF, W | D, W | C | D, W | E, 3, W | os.O_CLOEXEC):
        call('openat', CW, path, flags, 0o666)
        if flags & C and os.path.isfile('nothing'):
            os.unlink('nothing')
        if flags & C and os.path.isfile('nowhere'):
            os.unlink('nowhere')
call('openat', CW, b'p', W | NB, 0); call('openat', CW, b'p', RW, 0); call('openat', CW, b'p', RW | T | NB, 0)
call('openat', CW, b'.', TMP | W, 0o600); call('openat', CW, b'.', TMP, 0o600); call('openat', CW, b'f', W | P, 0); call('openat', CW, b'd', RW | P | T, 0)
call('openat', CW, b'f', W | C | E, 0); call('openat', CW, b'lf', W | C | E, 0); call('openat', CW, b'dangling', W | C | E, 0); call('openat', CW, b'f/', R | C, 0)
call('openat', CW, b'made', W | C, 0o7777); call('openat', CW, b'made0', RW | C, 0); call('open', b'made2', W | C | T, 0o640); call('creat', b'made3', 0o604); call('creat', b'f', 0o600)
call('openat', not_there, b'f', W, 0); call('openat', -1, b'f', W, 0); call('openat', -1, os.path.realpath('f').encode(), W, 0); call('openat', 0, b'', W, 0)
file, folder, path_fd = os.open('f', R), os.open('d', R), os.open('d', P)
call('openat', file, b'x', W, 0); call('openat', folder, b'../g', W, 0); call('openat', path_fd, b'n', W | C, 0o600); call('openat', CW, b'/proc/self/fd/%d' % file, W, 0)
call('openat', CW, b'/dev/fd/%d' % file, W | T, 0); call('openat', CW, b'/proc/self/fd/%d/n' % folder, W, 0); call('openat', CW, b'/proc/self/fd/%d' % folder, W, 0)
call('openat', CW, b'/proc/thread-self/cwd/g', W, 0); me = os.open('/proc/%d/cwd/g' % os.getpid(), W); os.close(me); call('openat', CW, b'/proc/self/root/dev/null', W, 0)
call('openat', CW, 1, W, 0); call('openat', CW, 0, W, 0); call('unlink', 1); call('rename', b'f', 1)
# Truncating.
for path in (b'f', b'f/', b'd', b'nothing', b'', b'lf', b'dangling', b'loop', b'p', b'sock', b'ro', b'shut/s', b'/dev/null', b'blind/b'):
    for length in (3, 0, 9, -1):
        call('truncate', path, length)
for flags in (R, W, RW, W | A_, RW | A_, P):
    os.path.exists('made4') or open('made4', 'w').write('0123456789')
    number = os.open('made4', flags)
    for args in (('ftruncate', number, 4), ('ftruncate', number, -1), ('fallocate', number, 3, 0, 2), ('fallocate', number, 16, 1, 3), ('fallocate', number, 8, 1, 2), ('fallocate', number, 0, 0, 20),
                 ('fcntl', number, 4, NB), ('fcntl', number, 3), ('fcntl', number, 4, A_), ('fcntl', number, 4, 0), ('fcntl', number, 3)):
        call(*args)
    if flags in (W, RW, W | A_):
        os.write(number, b'ab'); os.ftruncate(number, 1); os.unlink('made4'); os.ftruncate(number, 7); print(os.fstat(number).st_size)
    os.close(number)
call('ftruncate', 99, 0); call('ftruncate', -1, 0); call('fallocate', 99, 2, 0, 1); call('fcntl', 99, 4, 0); call('fcntl', -1, 4, 0); call('ftruncate', folder, 0); call('fallocate', folder, 3, 0, 1)
ends = os.pipe(); call('ftruncate', ends[1], 0); call('fcntl', ends[1], 4, NB); call('fcntl', ends[1], 3); call('fallocate', ends[1], 3, 0, 1); call('fcntl', 0, 4, 0)
# Removing.
for path in (b'', b'.', b'..', b'/', b'd/.', b'd/..', b'd/', b'full', b'full/', b'f/', b'f/x', b'ld/', b'ld', b'loop/x', b'nothing', b'nothing/', b'nothing/x', b'shut/s', b'shut/no', b'blind/b',
             b'blind/no', long_name, long_path, b'dangling', b'/dev/null/x'):
    for flags in (0, 0x200, 1, 0x100):
        if path == b'ld' and not flags or path == b'dangling' and not flags:
            continue
        call('unlinkat', CW, path, flags)
os.makedirs('d/e', exist_ok=True)
call('unlinkat', CW, b'p', 0); call('unlinkat', CW, b'sock', 0); call('unlinkat', file, b'x', 0); call('unlinkat', folder, b'n', 0); call('unlinkat', folder, b'n', 0)
call('unlinkat', not_there, b'x', 0); call('unlinkat', folder, b'e', 0x200); call('rmdir', b'd/'); call('rmdir', b'nothing')
os.makedirs('d/e', exist_ok=True)
# Renaming.
ends = (b'f', b'f/', b'd', b'd/', b'd/x', b'full', b'full/x', b'nothing', b'nothing/', b'nothing/x', b'', b'.', b'..', b'/', b'ld', b'ld/', b'lf', b'shut/s', b'blind/b', long_name, b'/dev/null')
def fresh():
    import shutil
    os.chmod('.', 0o700)
    for name in os.listdir('.'):
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700); shutil.rmtree(name)
        else:
            os.unlink(name)
    ground()


fresh(); before = hash_of(show())
for old in ends:
    for new in ends:
        # With two things wrong, which one is told first is left open.
        far, dots = (long_name, b'/dev/null'), (b'.', b'..', b'/')
        if (old in (b'nothing', b'nothing/', b'd/x') + dots and new in far) or (old in far and new in (b'nothing/x', b'', b'blind/b') + dots + far):
            continue
        for flags in (0, 1, 2):
            if call('renameat2', CW, old, CW, new, flags) != before:
                fresh()
folder, path_fd = os.open('d', R), os.open('d', P)
call('renameat2', CW, b'f', CW, b'x', 3); call('renameat2', CW, b'f', CW, b'x', 8)
call('rename', b'f', b'd/f'); call('rename', b'd/f', b'f'); call('renameat', CW, b'f', path_fd, b'f2'); call('renameat', path_fd, b'f2', CW, b'f'); call('rename', b'd', b'd/e/x')
call('rename', b'd', b'd'); call('renameat', not_there, b'f', CW, b'x'); call('renameat', CW, b'f', not_there, b'x')
# Linking.
for old in (b'f', b'f/', b'd', b'nothing', b'', b'ld', b'ld/', b'lf', b'lf/', b'dangling', b'loop', b'.', b'..', b'shut/s', b'blind/b', b'/proc/self/fd/%d' % file, b'ro'):
    for new in (b'h', b'h/', b'd/h', b'f', b'lf', b'dangling', b'', b'.', b'nothing/h', b'shut/h', b'd'):
        for flags in (0, 0x400, 0x1000, 1):
            call('linkat', CW, old, CW, new, flags)
            for made in ('h', 'd/h'):
                if os.path.lexists(made):
                    print(os.path.islink(made)); os.unlink(made)
call('link', b'f', b'h'); call('linkat', file, b'', CW, b'h2', 0x1000); call('linkat', not_there, b'', CW, b'h3', 0x1000)
nameless = os.open('.', TMP | W, 0o600); call('linkat', CW, b'/proc/self/fd/%d' % nameless, CW, b'named', 0x400)
print(show())
# What things are like.
fresh()
import struct


def like():
    found = []
    for name in sorted(os.listdir('.')) + ['d/e', 'full/x', 'shut/s']:
        try:
            s = os.lstat(name)
            # What is set here is old: what is young is the clock's.
            times = [t if t < 2 * 10 ** 18 // 2 else 'now' for t in (s.st_atime_ns, s.st_mtime_ns)]
            extra = {} if stat.S_ISLNK(s.st_mode) else {k: os.getxattr(name, k) for k in os.listxattr(name) if k.startswith('user.')}
        except OSError as error:
            found.append((name, error.errno))
            continue
        found.append((name, oct(s.st_mode), s.st_uid, s.st_gid, times, extra))
    return found


def change(name, *args):
    call(name, *args)
    print(hash_of(like()))


me, mine, theirs = os.geteuid(), os.getegid(), 4242
paths = (b'f', b'f/', b'f/.', b'd', b'd/', b'd/.', b'd/..', b'.', b'', b'nothing', b'nothing/', b'nothing/x', b'lf', b'lf/', b'ld', b'ld/', b'dangling', b'loop', b'loop/x', b'p', b'sock', b'ro',
         b'shut', b'shut/s', b'blind/b', b'/dev/null', b'/etc/hostname', long_name, long_path, b'/proc/self/cwd/g', 0, 1)
old, micro, odd = struct.pack('4l', 1000, 1234, 2000, 5678), struct.pack('4l', 5, 999999, 6, 1), struct.pack('4l', 1, 10 ** 9, 1, 0)
now_omit, omit, negative = struct.pack('4l', 7, 2 ** 30 - 1, 8, 2 ** 30 - 2), struct.pack('4l', 7, 2 ** 30 - 2, 8, 2 ** 30 - 2), struct.pack('4l', -5, 1, -6, 2)
for path in paths:
    # The kernel's own folders are not for changing, whoever asks.
    if not (path in (b'/dev/null', b'/etc/hostname') and me == 0):
        # The ground itself must stay open.
        for mode in (0o755 if path in (b'.', b'd/..') else 0o644, 0o7777, 0o1170000 | 0o755):
            change('chmod', path, mode); change('fchmodat', CW, path, mode); change('fchmodat2', CW, path, mode, 0x100)
        change('fchmodat2', CW, path, 0o700, 0x1000); change('fchmodat2', CW, path, 0o700, 0x400)
        for owner, group in ((-1, -1), (me, mine), (theirs, -1), (-1, theirs)):
            change('chown', path, owner, group); change('lchown', path, owner, group); change('fchownat', CW, path, owner, group, 0x100)
        for times in (old, now_omit, omit, odd, negative, 0, 1):
            change('utimensat', CW, path, times, 0); change('utimensat', CW, path, times, 0x100); change('utimensat', CW, path, times, 0x1000)
        change('utimensat', CW, path, old, 4)
        for times in (micro, odd, negative, 0):
            change('utimes', path, times); change('futimesat', CW, path, times)
        change('utime', path, old[:16]); change('utime', path, 0)
    for name in ('setxattr', 'lsetxattr'):
        for args in ((b'user.a', b'12345', 5, 0), (b'user.a', b'12345', 3, 1), (b'user.a', b'', 0, 2), (b'user.a', b'1', 1, 4), (b'', b'1', 1, 0), (b'user.', b'1', 1, 0), (b'odd', b'1', 1, 0),
                     (b'user.' + b'n' * 251, b'1', 1, 0), (b'user.b', 1, 3, 0), (1, b'', 0, 0), (b'user.c', b'', 1 << 17, 0)):
            change(name, path, *args)
    for name in ('removexattr', 'lremovexattr'):
        for attribute in (b'user.a', b'user.a', b'', b'user.nothing', b'odd', 1):
            change(name, path, attribute)
os.chmod('blind', 0o700); os.chmod('shut', 0o700)
for flags in (R, P, RW):
    number = os.open('g', flags)
    change('fchmod', number, 0o640); change('fchown', number, me, -1); change('fchown', number, theirs, -1); change('utimensat', number, 0, old, 0); change('utimensat', number, 0, 0, 0)
    change('futimesat', number, 0, micro); change('fsetxattr', number, b'user.a', b'xyz', 3, 0); change('fremovexattr', number, b'user.a'); change('fchmodat2', number, b'', 0o600, 0x1000)
    change('fchownat', number, b'', me, mine, 0x1000); change('utimensat', number, b'', old, 0x1000); change('utimensat', number, 0, old, 0x100)
    if flags != P:
        os.unlink('g'); change('fchmod', number, 0o606); print(oct(os.fstat(number).st_mode)); open('g', 'w').write('67'); os.utime('g', (3, 3))
    os.close(number)
for number in (99, -1, CW):
    change('fchmod', number, 0o600); change('fchown', number, me, mine); change('utimensat', number, 0, old, 0); change('futimesat', number, 0, micro)
    # Newer kernels take the caller's folder for it.
    number == CW or change('fsetxattr', number, b'user.a', b'x', 1, 0)
ends = os.pipe()
change('fchmod', ends[0], 0o600); change('utimensat', ends[0], 0, old, 0); change('fsetxattr', ends[0], b'user.a', b'x', 1, 0); print(oct(os.fstat(ends[0]).st_mode))
