// Two boxes race on names of one workspace. Started in both: one exchanges, the other one destroys what it has made itself. Whoever is done makes a
// file "over", which ends the other one.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long done, refused, busy;

static void tell(long answer) {
    if (answer >= 0) done++;
    else if (errno == EPERM) refused++;
    else if (errno == EBUSY) busy++;
}

static long exchange(const char *one, const char *other) { return syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2); }

static void made(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) close(fd);
}

int main(int count, char **words) {
    if (count < 5) return 2;
    const char *deed = words[1], *mine = words[2], *other = words[3];
    long tries = atol(words[4]);
    // Each of so many files once, in turn.
    if (!strcmp(deed, "sweep")) {
        for (long n = 0; n < tries;) {
            char path[256];
            snprintf(path, sizeof path, "%s%ld", other, n);
            long answer = exchange(mine, path);
            tell(answer);
            if (answer == 0) n++;
        }
        printf("%ld done, %ld refused, %ld busy.\n", done, refused, busy);
        return 0;
    }
    for (long n = 0; n < tries; n++) {
        if (n % 64 == 0 && access("over", F_OK) == 0) break;
        if (!strcmp(deed, "exchange")) {
            tell(exchange(mine, other));
            if (n + 1 == tries) n = 0;
            continue;
        }
        made(mine);
        if (!strcmp(deed, "unlink")) tell(unlinkat(AT_FDCWD, mine, 0));
        else if (!strcmp(deed, "replace")) {
            made(other);
            tell(rename(other, mine));
        } else if (!strcmp(deed, "truncate")) {
            int fd = open(mine, O_WRONLY | O_TRUNC);
            tell(fd);
            if (fd >= 0) close(fd);
        } else if (!strcmp(deed, "mixed")) {
            // Each may be the one whose look is already old.
            long which = n % 4;
            if (which == 0) tell(unlinkat(AT_FDCWD, mine, 0));
            else if (which == 1) {
                made(other);
                tell(rename(other, mine));
            } else if (which == 2) {
                int fd = open(mine, O_WRONLY | O_TRUNC);
                tell(fd);
                if (fd >= 0) close(fd);
            } else tell(chmod(mine, 0600));
        } else return 2;
    }
    printf("%ld done, %ld refused, %ld busy.\n", done, refused, busy);
    return 0;
}
