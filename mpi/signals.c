#include "mpi/signals.h"

#include "core/crash_note.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int stop_signal; /* lock-free, so a handler may set it */
static double stop_at;         /* set before there are threads */

static atomic_int told_exit_code; /* 0: the job goes on, or ends well */

#define MAX_GUARDS 256
static struct guard {
    _Atomic uintptr_t begin; /* 0: free */
    _Atomic uintptr_t end;
    _Atomic(const char *) name;
} guards[MAX_GUARDS];

static const int crashes[] = {SIGSEGV, SIGFPE, SIGABRT};
#define N_CRASHES (sizeof crashes / sizeof *crashes)
static struct sigaction before[N_CRASHES]; /* what MPI does then: it prints where */

static void on_stop(int signal_number)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(&stop_signal, &none, signal_number);
}

static size_t append(char *line, size_t n, size_t size, const char *text)
{
    while (*text && n < size)
        line[n++] = *text++;
    return n;
}

/* One write, so that lines of several ranks do not mix. Only calls that a handler may make. */
static void tell_bus_error(const char *name)
{
    char line[512];
    size_t n = append(line, 0, sizeof line, "ranktape: bus error in ");
    n = append(line, n, sizeof line, name ? "'" : "");
    n = append(line, n, sizeof line - 128, name ? name : "a mapped file");
    n = append(line, n, sizeof line, name ? "'" : "");
    n = append(line, n, sizeof line,
               ": the file was cut while it was mapped, or its file system is full or failing\n");
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* nothing can be done about it here */
}

static void tell_crash(const char *name)
{
    char line[512];
    size_t n = append(line, 0, sizeof line, "ranktape: HDF5 crashed on '");
    n = append(line, n, sizeof line - 128, name);
    n = append(line, n, sizeof line,
               "': the file is damaged (h5dump shows where), or HDF5 has a fault\n");
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written;
}

static void on_crash(int signal_number)
{
    if (atomic_load(&told_exit_code))
        _exit(atomic_load(&told_exit_code));
    if (rt_crash_note()) {
        tell_crash(rt_crash_note());
        _exit(1);
    }
    for (size_t i = 0; i < N_CRASHES; i++)
        if (crashes[i] == signal_number)
            (void)sigaction(signal_number, &before[i], NULL);
    (void)raise(signal_number); /* comes when this returns */
}

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t address = (uintptr_t)info->si_addr;
    for (size_t i = 0; i < MAX_GUARDS; i++) {
        if (address >= atomic_load(&guards[i].begin) && address < atomic_load(&guards[i].end)) {
            tell_bus_error(atomic_load(&guards[i].name));
            _exit(1);
        }
    }
    if (rt_crash_note()) {
        tell_crash(rt_crash_note());
        _exit(1);
    }
    if (info->si_code == BUS_ADRERR) {
        tell_bus_error(NULL);
        _exit(1);
    }
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigaction(signal_number, &action, NULL);
    (void)raise(signal_number); /* comes when this returns */
}

static void install_stops(void)
{
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGUSR1, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_flags |= (int)SA_RESETHAND;
    (void)sigaction(SIGINT, &action, NULL);
}

void rt_signals_told(int exit_code)
{
    atomic_store(&told_exit_code, exit_code);
    (void)signal(SIGPIPE, SIG_IGN);
}

void rt_signals_install(bool takes_stops)
{
    if (takes_stops) {
        install_stops();
        (void)signal(SIGPIPE, SIG_IGN); /* who reads what is told may go; the work goes on */
    }
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    (void)sigemptyset(&bus.sa_mask);
    (void)sigaction(SIGBUS, &bus, NULL);
    struct sigaction crash = {.sa_handler = on_crash};
    (void)sigemptyset(&crash.sa_mask);
    for (size_t i = 0; i < N_CRASHES; i++) {
        struct sigaction old;
        if (sigaction(crashes[i], &crash, &old) == 0 && old.sa_handler != on_crash)
            before[i] = old;
    }
}

void rt_signals_stop_at(double seconds)
{
    stop_at = seconds;
}

int rt_signals_stop_asked(void)
{
    struct timespec now;
    if (stop_at > 0 && clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
        (double)now.tv_sec + 1e-9 * (double)now.tv_nsec >= stop_at)
        on_stop(-1);
    return atomic_load_explicit(&stop_signal, memory_order_relaxed);
}

void rt_signals_ask_stop(void)
{
    on_stop(-1);
}

const char *rt_signals_stop_reason(void)
{
    int asked = rt_signals_stop_asked();
    return asked == SIGUSR1   ? "by SIGUSR1"
           : asked == SIGTERM ? "by SIGTERM"
           : asked == SIGINT  ? "by SIGINT"
           : asked            ? "at the time limit"
                              : "on request";
}

enum rt_status rt_signals_check(struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (rt_signals_stop_asked())
        RT_FAIL(RT_STOPPED, "stopped %s, progress is saved; run again with --resume",
                rt_signals_stop_reason());
done:
    return st;
}

void rt_signals_clear(void)
{
    stop_at = 0;
    atomic_store(&stop_signal, 0);
}

void rt_signals_guard(const void *begin, size_t n_bytes, const char *name)
{
    for (size_t i = 0; i < MAX_GUARDS; i++) {
        uintptr_t none = 0;
        if (atomic_compare_exchange_strong(&guards[i].begin, &none, (uintptr_t)begin)) {
            atomic_store(&guards[i].name, name);
            atomic_store(&guards[i].end, (uintptr_t)begin + n_bytes);
            return;
        }
    }
}

void rt_signals_unguard(const void *begin)
{
    for (size_t i = 0; i < MAX_GUARDS; i++) {
        if (atomic_load(&guards[i].begin) == (uintptr_t)begin) {
            atomic_store(&guards[i].end, 0);
            atomic_store(&guards[i].begin, 0);
            return;
        }
    }
}
