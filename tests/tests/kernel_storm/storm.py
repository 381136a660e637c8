"""Eight threads open, cut short and remove what was there before, under storms of signals, whose handlers end a call (`ends`) or have the kernel start
it again (`restarts`). Says how often each errno was seen."""
import collections, ctypes, errno, os, signal, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
THREADS, EACH = 8, int(sys.argv[1])
AT_FDCWD, O_WRONLY, O_TRUNC = -100, 1, 0o1000
seen = collections.Counter()
lock, over = threading.Lock(), threading.Event()


def called(number, *arguments):
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *arguments)
    return value if value >= 0 else -ctypes.get_errno()


def work(number):
    mine = collections.Counter()
    for turn in range(EACH):
        name = b"old/%d-%d" % (number, turn)
        # Until it is done: a handler of the storm may end one of them.
        while (fd := called(257, AT_FDCWD, name, O_WRONLY | (O_TRUNC if turn % 2 else 0), 0)) < 0 and fd == -errno.EINTR:
            mine[-fd] += 1
        if fd < 0:
            mine[-fd] += 1
            continue
        mine["opened"] += 1
        os.close(fd)
        while (removed := called(87, name)) == -errno.EINTR:
            mine[-removed] += 1
        mine["removed" if removed == 0 else -removed] += 1
    with lock:
        seen.update(mine)


def storm():
    while not over.is_set():
        os.kill(os.getpid(), signal.SIGCONT)
        for thread in threads:
            if thread.is_alive():
                try:
                    signal.pthread_kill(thread.ident, signal.SIGUSR1)
                except ProcessLookupError:
                    pass
        time.sleep(0.01)


# Handlers that end a call unless the kernel itself starts it again.
for number in (signal.SIGALRM, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
    signal.siginterrupt(number, sys.argv[2] == 'ends')
threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
stormer = threading.Thread(target=storm)
stormer.start()
signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
for thread in threads:
    thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
over.set()
stormer.join()
print("seen", *sorted(f"{what}:{count}" for what, count in seen.items()), flush=True)
