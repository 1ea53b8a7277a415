#include "io/file_clock.h"

#include <time.h>

static _Thread_local double seconds_in_all;

double rt_file_clock_begin(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void rt_file_clock_end(double began)
{
    seconds_in_all += rt_file_clock_begin() - began;
}

double rt_file_clock_seconds(void)
{
    return seconds_in_all;
}
