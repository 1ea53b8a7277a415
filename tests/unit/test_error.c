#include "core/error.h"
#include "tests/rt_test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static enum rt_status fails(const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_FAIL(RT_IO, "cannot open '%s': %s", name, strerror(ENOENT));
done:
    return st;
}

static enum rt_status passes_on(const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(fails(name, err));
    st = RT_OK; /* not reached */
done:
    return st;
}

RT_TEST("a failure carries its status, its text and where it began")
{
    struct rt_error err;
    CHECK(passes_on("a.fbin", &err) == RT_IO);
    CHECK(err.status == RT_IO);
    CHECK(err.rank == -1);
    CHECK(strcmp(err.text, "cannot open 'a.fbin': No such file or directory") == 0);
    CHECK(strncmp(err.where, "test_error.c:", 13) == 0);
}

RT_TEST("names from outside keep the text one line")
{
    struct rt_error err;
    CHECK(fails("a\nb\r\t\x1b[31m\x7f\xc3\xa4", &err) == RT_IO);
    CHECK(strcmp(err.text, "cannot open 'a?b???[31m?\xc3\xa4': No such file or directory") == 0);
}

RT_TEST("a text that is too long is cut")
{
    struct rt_error err;
    char name[2000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    CHECK(fails(name, &err) == RT_IO);
    CHECK(strlen(err.text) == sizeof err.text - 1);
}

RT_TEST("exit codes are the four that are promised")
{
    CHECK(rt_exit_code(RT_OK) == 0);
    CHECK(rt_exit_code(RT_STOPPED) == 75);
    CHECK(rt_exit_code(RT_USAGE) == 2);
    CHECK(rt_exit_code(RT_INPUT) == 2);
    CHECK(rt_exit_code(RT_GATE) == 1);
    CHECK(rt_exit_code(RT_DAMAGED) == 1);
    CHECK(rt_exit_code(RT_IO) == 1);
    CHECK(rt_exit_code(RT_NOMEM) == 1);
    CHECK(strcmp(rt_status_name(RT_OK), "done") == 0);
    CHECK(strcmp(rt_status_name(RT_STOPPED), "stopped") == 0);
    CHECK(strcmp(rt_status_name(RT_NOMEM), "failed") == 0);
}

static void leave(void)
{
    _exit(42);
}

RT_TEST("a broken invariant ends the process: by what main installs, or by abort")
{
    for (int installed = 0; installed < 2; installed++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            (void)fclose(stderr);
            if (installed)
                rt_die_install(leave);
            rt_die("%d is not %d", 1, 2);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (installed)
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        else
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

RT_TEST_MAIN()
