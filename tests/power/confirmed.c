/*
 * Preloaded into redis-server: notes how much of each file the disk has confirmed.
 *
 * kill -9 says nothing about fsync, because the page cache outlives the process. So a test that
 * wants to know what a power cut leaves needs to know what fsync had confirmed, and throws the rest
 * away. A line of the log, written whole by one write(2), is one of
 *   S <tab> size <tab> path    fsync or fdatasync has returned; the size is that from before it
 *   R <tab> old <tab> new      renamed
 *   U <tab> path               unlinked
 * The log's path stands in POWER_LOG and is absolute: Redis changes its directory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int log_fd = -1;

static void die(const char *why) {
    fprintf(stderr, "confirmed.c: %s\n", why);
    abort();
}

__attribute__((constructor)) static void open_log(void) {
    const char *path = getenv("POWER_LOG");
    if (path == NULL || path[0] != '/') die("POWER_LOG must be an absolute path");
    log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_fd == -1) die("POWER_LOG cannot be opened");
}

static void note(const char *line, int length) {
    /* A note that is lost would blame Redis for our fault. */
    if (length < 0 || write(log_fd, line, (size_t)length) != length) die("a note was lost");
}

static void make_absolute(const char *path, char *out) {
    char here[PATH_MAX] = "";
    if (path[0] != '/' && getcwd(here, sizeof here) == NULL) die("no directory");
    if (snprintf(out, PATH_MAX, "%s%s%s", here, path[0] == '/' ? "" : "/", path) >= PATH_MAX)
        die("a path is too long");
}

/* The size is taken before the call: what another thread appends meanwhile may not be included. */
static int sync_and_note(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    int is_file = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int result = real(fd);
    if (result == 0 && is_file) {
        char link[64], path[PATH_MAX], line[PATH_MAX + 64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length == -1) die("a descriptor has no path");
        path[length] = '\0';
        note(line, snprintf(line, sizeof line, "S\t%lld\t%s\n", (long long)before.st_size, path));
    }
    return result;
}

int fsync(int fd) { return sync_and_note("fsync", fd); }

int fdatasync(int fd) { return sync_and_note("fdatasync", fd); }

int rename(const char *old, const char *new) {
    int (*real)(const char *, const char *) =
        (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    char from[PATH_MAX], to[PATH_MAX], line[2 * PATH_MAX + 8];
    make_absolute(old, from);
    make_absolute(new, to);
    int result = real(old, new);
    if (result == 0) note(line, snprintf(line, sizeof line, "R\t%s\t%s\n", from, to));
    return result;
}

int unlink(const char *name) {
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    char path[PATH_MAX], line[PATH_MAX + 8];
    make_absolute(name, path);
    int result = real(name);
    if (result == 0) note(line, snprintf(line, sizeof line, "U\t%s\n", path));
    return result;
}
