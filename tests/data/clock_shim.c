/* Shifts the wall clock of one process, for tests: preloaded, it adds the number of seconds (eight bytes, little endian)
   that stands in the file CLOCK_SHIM to what the system says. Other clocks, such as the monotonic one, stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long long none = 0;
static const volatile long long *shift = &none;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CLOCK_SHIM");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(0, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*system_clock)(clockid_t, struct timespec *);
    if (!system_clock)
        system_clock = dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = system_clock(clock, now);
    if (outcome == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift;
    return outcome;
}
