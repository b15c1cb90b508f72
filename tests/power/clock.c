/*
 * Preloaded into redis-server: moves the wall clock that it sees, and no other.
 *
 * CLOCK_OFFSET is the path of a file of eight bytes, microseconds that are added; the test changes
 * them while Redis runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *offset_us;

__attribute__((constructor)) static void open_offset(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *page = fd == -1 ? MAP_FAILED : mmap(NULL, sizeof *offset_us, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        fprintf(stderr, "clock.c: CLOCK_OFFSET cannot be read\n");
        abort();
    }
    close(fd);
    offset_us = page;
}

static long long moved_us(void) {
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    struct timespec now;
    real(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000 + *offset_us;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    long long us = moved_us();
    now->tv_sec = us / 1000000;
    now->tv_usec = us % 1000000;
    return 0;
}

time_t time(time_t *out) {
    time_t seconds = moved_us() / 1000000;
    if (out != NULL) *out = seconds;
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    if (id == CLOCK_REALTIME) {
        long long us = moved_us();
        now->tv_sec = us / 1000000;
        now->tv_nsec = us % 1000000 * 1000;
        return 0;
    }
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return real(id, now);
}
