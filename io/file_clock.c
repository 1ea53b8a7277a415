#include "io/file_clock.h"

#include "core/clock.h"

static _Thread_local double seconds_in_all;

double rt_file_clock_begin(void)
{
    return rt_clock_seconds();
}

void rt_file_clock_end(double began)
{
    seconds_in_all += rt_clock_seconds() - began;
}

double rt_file_clock_seconds(void)
{
    return seconds_in_all;
}
