#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void (*end_job_hook)(void);

enum rt_status rt_error_set(struct rt_error *err, enum rt_status status, const char *file, int line,
                            const char *format, ...)
{
    const char *base = strrchr(file, '/');
    err->status = status;
    err->rank = -1;
    (void)snprintf(err->where, sizeof err->where, "%.30s:%d", base ? base + 1 : file, line);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    for (char *c = err->text; *c; c++) /* names from outside may hold anything: keep it one line */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return status;
}

const char *rt_status_name(enum rt_status status)
{
    return status == RT_OK ? "done" : status == RT_STOPPED ? "stopped" : "failed";
}

int rt_exit_code(enum rt_status status)
{
    switch (status) {
    case RT_OK:
        return 0;
    case RT_STOPPED:
        return 75;
    case RT_USAGE:
    case RT_INPUT:
        return 2;
    case RT_GATE:
    case RT_DAMAGED:
    case RT_IO:
    case RT_NOMEM:
        return 1;
    }
    return 1;
}

void rt_die_install(void (*end_job)(void))
{
    end_job_hook = end_job;
}

void rt_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("ranktape: internal error: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    if (end_job_hook)
        end_job_hook();
    abort();
}
