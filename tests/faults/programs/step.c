/* Clocks that a test moves: the file that WEIR_CLOCK_FILE names has the seconds that are added to the time of day
 * (CLOCK_REALTIME), then those added to time that only goes on (CLOCK_MONOTONIC). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct offsets {
    int64_t time_of_day_s;
    int64_t monotonic_s;
};

static int (*real)(clockid_t, struct timespec *);
static volatile struct offsets *offsets;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("WEIR_CLOCK_FILE");
    int file = name ? open(name, O_RDONLY) : -1;

    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(*offsets), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        offsets = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);

    if (code != 0 || !offsets)
        return code;
    if (clock == CLOCK_REALTIME)
        now->tv_sec += offsets->time_of_day_s;
    else if (clock == CLOCK_MONOTONIC)
        now->tv_sec += offsets->monotonic_s;
    return code;
}
