#include "mpi/signals.h"

#include "core/crash_note.h"
#include "tests/rt_test.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rt_error err;

RT_TEST(
    "each signal asks for a stop, the first one is remembered, and it can be asked for without one")
{
    static const int signals[] = {SIGUSR1, SIGTERM, SIGINT};
    static const char *const names[] = {"SIGUSR1", "SIGTERM", "SIGINT"};
    for (int i = 0; i < 3; i++) {
        rt_signals_install(true);
        rt_signals_clear();
        CHECK_OK(rt_signals_check(&err));
        CHECK(raise(signals[i]) == 0);
        rt_signals_ask_stop();
        CHECK(rt_signals_stop_asked() == signals[i]);
        CHECK_STATUS(RT_STOPPED, rt_signals_check(&err));
        CHECK(strstr(err.text, names[i]) && strstr(err.text, "--resume"));
    }
    rt_signals_clear();
    rt_signals_ask_stop();
    CHECK_STATUS(RT_STOPPED, rt_signals_check(&err));
    CHECK(strstr(err.text, "time limit") != NULL);
    rt_signals_clear();
}

/* Maps a file of two pages, guards it or not, cuts it and reads behind the cut. Returns how the
 * child ended. */
static int read_cut_file(bool is_guarded, char *line, size_t size)
{
    int pipe_ends[2];
    char name[] = "/tmp/rt_signals_XXXXXX";
    line[0] = '\0';
    int fd = mkstemp(name);
    if (fd < 0 || ftruncate(fd, 8192) != 0 || pipe(pipe_ends) != 0)
        return -1;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(pipe_ends[1], STDERR_FILENO);
        rt_signals_install(true);
        const volatile char *data = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
        if (is_guarded)
            rt_signals_guard((const void *)(uintptr_t)data, 8192, "tree-1.h5");
        if (ftruncate(fd, 0) != 0)
            _exit(99);
        _exit(data[5000] == 0 ? 98 : 97);
    }
    (void)close(pipe_ends[1]);
    ssize_t n = read(pipe_ends[0], line, size - 1);
    line[n > 0 ? n : 0] = '\0';
    int how = 0;
    (void)waitpid(child, &how, 0);
    (void)close(pipe_ends[0]);
    (void)close(fd);
    (void)unlink(name);
    return how;
}

RT_TEST("a mapped file that is cut ends the process with one line that names it")
{
    char line[256];
    int how = read_cut_file(true, line, sizeof line);
    CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 1);
    CHECK(strncmp(line, "ranktape: bus error in 'tree-1.h5'", 34) == 0);
    CHECK(line[0] && line[strlen(line) - 1] == '\n');
}

RT_TEST("one that nobody has named ends it so too")
{
    char line[256];
    int how = read_cut_file(false, line, sizeof line);
    CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 1);
    CHECK(strncmp(line, "ranktape: bus error in a mapped file: ", 38) == 0);
}

/* What a child that raises the signal after rt_signals_install(takes_stops) ends by. */
static int raise_in_child(bool takes_stops, int signal_number)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(signal_number, SIG_DFL); /* not what a test before has installed */
        rt_signals_install(takes_stops);
        (void)raise(signal_number);
        _exit(0);
    }
    int how = 0;
    (void)waitpid(child, &how, 0);
    return how;
}

RT_TEST("a bus error of another kind crashes as always")
{
    int how = raise_in_child(true, SIGBUS);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGBUS);
}

RT_TEST("a job that does not look for stops is ended by them")
{
    int how = raise_in_child(false, SIGTERM);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGTERM);
    how = raise_in_child(true, SIGTERM);
    CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

RT_TEST("once all is told, a pipe that breaks in a library's clean-up ends nothing")
{
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int ends[2];
        rt_signals_clear();
        (void)signal(SIGPIPE, SIG_DFL);
        rt_signals_install(false);
        rt_signals_told(0);
        if (pipe(ends) != 0 || close(ends[0]) != 0)
            _exit(99);
        _exit(write(ends[1], "", 1) == -1 ? 0 : 98);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

RT_TEST("guards are given back, and more than there is room for do no harm")
{
    static char bytes[600];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 600; i++)
            rt_signals_guard(bytes + i, 1, "x");
        for (int i = 0; i < 600; i++)
            rt_signals_unguard(bytes + i);
    }
    char line[256]; /* there is room again */
    int how = read_cut_file(true, line, sizeof line);
    CHECK(WIFEXITED(how) && WEXITSTATUS(how) == 1);
}

RT_TEST_MAIN()

/* A child that crashes, with a note or without; returns how it ended. */
static int crash(int signal_number, const char *note, char *line, size_t size)
{
    int pipe_ends[2];
    int status = 0;
    line[0] = '\0';
    if (pipe(pipe_ends) != 0)
        return -1;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(pipe_ends[1], STDERR_FILENO);
        rt_signals_install(false);
        rt_crash_note_set(note);
        (void)raise(signal_number);
        _exit(99);
    }
    (void)close(pipe_ends[1]);
    ssize_t n = read(pipe_ends[0], line, size - 1);
    line[n > 0 ? n : 0] = '\0';
    (void)close(pipe_ends[0]);
    return waitpid(child, &status, 0) == child ? status : -1;
}

RT_TEST("a crash over a file that is noted names it in one line, any other crashes as always")
{
    static const int signals[] = {SIGSEGV, SIGFPE, SIGABRT, SIGBUS};
    char line[600];
    for (int i = 0; i < 4; i++) {
        int status = crash(signals[i], "rows.h5", line, sizeof line);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        CHECK(strstr(line, "'rows.h5'") && strchr(line, '\n') == line + strlen(line) - 1);
        status = crash(signals[i], NULL, line, sizeof line);
#ifndef __SANITIZE_ADDRESS__ /* which exits on its own */
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
#endif
        CHECK(strstr(line, "rows.h5") == NULL);
    }
}
