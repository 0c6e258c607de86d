/*
 * Faults of a disk and a clock for one raftd, switched on and off while it runs.
 *
 * Loaded with LD_PRELOAD. CHAOS_CONTROL names a file of five 64-bit words, which is mapped; the
 * harness writes words into the file and this program sees them at once:
 *
 *   0  sync_error     not 0: fsync and fdatasync fail with EIO
 *   1  hang           not 0: fsync and fdatasync do not return while it is so
 *   2  torn           not 0: the next write to a write-ahead log is cut in half, and the process
 *                     is killed in the middle of it
 *   3  realtime_ns    added to CLOCK_REALTIME; other clocks run as they do
 *   4  power          1: what was not synced of the write-ahead logs is cut off and the process is
 *                     killed; 2: half of what was not synced stays
 *
 * Whoever kills a process leaves the kernel's page cache in place, so that words 2 and 4 are the
 * only way to lose on a running machine what only a power failure loses.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_ERROR, HANG, TORN, REALTIME_NS, POWER, WORDS };

/* More descriptors than a node ever has; what is beyond them is not cut. */
#define DESCRIPTORS 4096

static volatile int64_t *control;
static volatile int dying;
static pthread_mutex_t killing = PTHREAD_MUTEX_INITIALIZER;

/* How long a file was when it was synced last, by descriptor. */
static struct { ino_t inode; off_t size; } synced[DESCRIPTORS];

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("CHAOS_CONTROL");
    if (path == NULL) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *mapped = mmap(NULL, WORDS * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) control = mapped;
}

static int64_t word(int which) { return control == NULL ? 0 : control[which]; }

/* Says whether a descriptor is a write-ahead log: a file "000123.log". */
static int is_log(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 5) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (name == NULL || strcmp(path + length - 4, ".log") != 0) return 0;
    return name[1] >= '0' && name[1] <= '9';
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Cuts what was not synced, and ends: as if the power had failed. */
static void lose_power(int keeps_half) {
    pthread_mutex_lock(&killing);
    dying = 1;
    usleep(2000); /* writes that have begun end */
    for (int fd = 3; fd < DESCRIPTORS; fd++) {
        struct stat now;
        if (fstat(fd, &now) != 0 || !S_ISREG(now.st_mode) || !is_log(fd)) continue;
        off_t safe = synced[fd].inode == now.st_ino ? synced[fd].size : 0;
        if (safe >= now.st_size) continue;
        off_t kept = keeps_half ? safe + (now.st_size - safe) / 2 : safe;
        if (ftruncate(fd, kept) != 0) continue;
    }
    die();
}

static void check_power(void) {
    if (dying) for (;;) pause();
    int64_t power = word(POWER);
    if (power != 0) lose_power(power == 2);
}

/* Before a write: returns how much of it is to be written, and whether the process ends then. */
static int is_torn(int fd) {
    check_power();
    return word(TORN) != 0 && is_log(fd);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    if (is_torn(fd)) {
        if (real(fd, bytes, count / 2) >= 0) die();
    }
    return real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(pwrite);
    if (is_torn(fd)) {
        if (real(fd, bytes, count / 2, at) >= 0) die();
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    if (is_torn(fd)) {
        if (real(fd, bytes, count / 2, at) >= 0) die();
    }
    return real(fd, bytes, count, at);
}

static int sync_with(int (*real)(int), int fd) {
    check_power();
    while (word(HANG) != 0) usleep(5000);
    check_power();
    if (word(SYNC_ERROR) != 0) {
        errno = EIO;
        return -1;
    }
    struct stat before;
    int known = fstat(fd, &before) == 0;
    int result = real(fd);
    if (result == 0 && known && fd >= 0 && fd < DESCRIPTORS) {
        synced[fd].inode = before.st_ino;
        synced[fd].size = before.st_size;
    }
    return result;
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return sync_with(real, fd);
}

int fsync(int fd) {
    REAL(fsync);
    return sync_with(real, fd);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real(clock, time);
    int64_t offset = word(REALTIME_NS);
    if (result == 0 && offset != 0 && clock == CLOCK_REALTIME) {
        int64_t whole = time->tv_sec * INT64_C(1000000000) + time->tv_nsec + offset;
        time->tv_sec = whole / INT64_C(1000000000);
        time->tv_nsec = whole % INT64_C(1000000000);
    }
    return result;
}
