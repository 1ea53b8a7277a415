#include "core/memory.h"
#include "jobs/progress_view.h"
#include "tests/rt_test.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct rt_error err;

static struct rt_progress_state state_at(double seconds, uint64_t done)
{
    struct rt_progress_state state = {.phase = "insert",
                                      .unit = "rows",
                                      .total = 1000000,
                                      .seconds = seconds,
                                      .note = "",
                                      .n_ranks = 4};
    state.counters[RT_COUNT_DONE] = done;
    return state;
}

/* Shows 0..n seconds of a job that does 20,000 rows a second; returns what was written. */
static size_t run_seconds(FILE *stream, enum rt_progress_mode mode, bool is_quiet, double seconds,
                          char *text, size_t size)
{
    struct rt_progress_view_options options = {
        .mode = mode, .is_quiet = is_quiet, .stream = stream, .job = "build"};
    struct rt_progress_view *view = NULL;
    CHECK_OK(rt_progress_view_new(&options, &view, &err));
    if (!view)
        return 0;
    for (int i = 0; i / 10.0 <= seconds; i++) {
        double t = i / 10.0;
        struct rt_progress_state state = state_at(t, (uint64_t)(t * 20000));
        rt_progress_view_show(view, &state);
    }
    struct rt_progress_state last = state_at(seconds, (uint64_t)(seconds * 20000));
    last.is_last = true;
    rt_progress_view_show(view, &last);
    rt_progress_view_free(view);
    rewind(stream);
    size_t n = fread(text, 1, size - 1, stream);
    text[n] = '\0';
    return n;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *c = strstr(text, what); c; c = strstr(c + 1, what))
        n++;
    return n;
}

RT_TEST("a log gets one whole line every ten seconds")
{
    char text[4096];
    FILE *stream = tmpfile();
    REQUIRE(stream != NULL);
    (void)run_seconds(stream, RT_PROGRESS_AUTO, false, 35.05, text, sizeof text);
    CHECK(count(text, "\n") == 3);
    CHECK(strncmp(text, "insert   20.", 12) == 0);
    CHECK(strstr(text, "/1,000,000 rows 20,000 rows/s 0:") != NULL);
    CHECK(count(text, "left\n") == 3 && !strchr(text, '\r') && !strchr(text, '\033'));
    (void)fclose(stream);
}

RT_TEST("quiet says nothing, unless progress is asked for always")
{
    char text[4096];
    FILE *stream = tmpfile();
    REQUIRE(stream != NULL);
    CHECK(run_seconds(stream, RT_PROGRESS_AUTO, true, 15, text, sizeof text) == 0);
    CHECK(run_seconds(stream, RT_PROGRESS_NEVER, false, 15, text, sizeof text) == 0);
    CHECK(run_seconds(stream, RT_PROGRESS_ALWAYS, true, 15, text, sizeof text) > 0);
    (void)fclose(stream);
}

/* What has been written to the other end; the kernel hands it on in pieces and at its own pace. */
static ssize_t read_terminal(int master, char *text, size_t size)
{
    size_t n = 0;
    struct pollfd ready = {.fd = master, .events = POLLIN};
    while (n + 1 < size && poll(&ready, 1, 500) == 1) {
        ssize_t got = read(master, text + n, size - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    text[n] = '\0';
    return (ssize_t)n;
}

RT_TEST("a terminal gets a bar from the first second on, at most six times a second, and it is "
        "taken away")
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        (void)fprintf(stderr, "  no pseudo terminal here, skipped\n");
        return;
    }
    struct winsize window = {.ws_col = 90, .ws_row = 24};
    FILE *stream = fopen(ptsname(master), "w");
    REQUIRE(stream != NULL);
    (void)ioctl(fileno(stream), TIOCSWINSZ, &window);
    (void)setenv("LC_ALL", "C", 1);
    struct rt_progress_view_options options = {.stream = stream, .job = "build"};
    struct rt_progress_view *view = NULL;
    CHECK_OK(rt_progress_view_new(&options, &view, &err));
    REQUIRE(view != NULL);
    for (int i = 0; i < 30; i++) {
        struct rt_progress_state state = state_at(i / 20.0, (uint64_t)i * 20000);
        rt_progress_view_show(view, &state);
    }
    struct rt_progress_state last = state_at(2, 1000000);
    last.is_last = true;
    rt_progress_view_show(view, &last);
    char text[4096];
    ssize_t n = read_terminal(master, text, sizeof text);
    CHECK(count(text, "\rinsert ") == 3); /* 1.0, 1.2 and 1.4 s at steps of 0.05 s */
    CHECK(strstr(text, "====") && strstr(text, " % ") && strstr(text, " left"));
    CHECK(count(text, "\n") == 0);
    CHECK(n > 4 && strcmp(text + n - 4, "\r\033[K") == 0);
    const char *first = strstr(text, "\rinsert");
    const char *end = first ? strstr(first, "\033[K") : NULL;
    CHECK(end && end - first - 1 < 90); /* never as wide as the terminal, else it would wrap */
    rt_progress_view_free(view);
    (void)fclose(stream);
    (void)close(master);
}

static json_t *load(const char *name)
{
    json_error_t why;
    json_t *object = json_load_file(name, 0, &why);
    if (!object)
        RT_TEST_FAILED("'%s': %s", name, why.text);
    return object;
}

RT_TEST("the file is whole JSON at every time, and says at last how the job ended")
{
    char folder[] = "/tmp/rt_progress_view_XXXXXX";
    char name[64];
    char partial[80];
    REQUIRE(mkdtemp(folder) != NULL);
    (void)snprintf(name, sizeof name, "%s/progress.json", folder);
    (void)snprintf(partial, sizeof partial, "%s.partial", name);
    FILE *stream = tmpfile();
    REQUIRE(stream != NULL);
    struct rt_progress_view_options options = {
        .mode = RT_PROGRESS_NEVER, .stream = stream, .job = "build", .file = name};
    struct rt_progress_view *view = NULL;
    CHECK_OK(rt_progress_view_new(&options, &view, &err));
    REQUIRE(view != NULL);
    struct rt_progress_state state = state_at(2.0, 500000);
    state.resumed = 100000;
    rt_progress_view_show(view, &state);
    json_t *object = load(name);
    CHECK(json_integer_value(json_object_get(object, "done")) == 500000);
    CHECK(json_number_value(json_object_get(object, "fraction")) == 0.5);
    CHECK(json_number_value(json_object_get(object, "rate")) ==
          200000.0); /* without what was resumed */
    CHECK(json_number_value(json_object_get(object, "seconds_left")) == 2.5);
    CHECK(strcmp(json_string_value(json_object_get(object, "state")), "running") == 0);
    CHECK(json_integer_value(json_object_get(object, "ranks")) == 4);
    json_decref(object);
    rt_progress_view_end(view, "failed", "cannot open 'a\xff.h5'");
    object = load(name);
    CHECK(strcmp(json_string_value(json_object_get(object, "state")), "failed") == 0);
    CHECK(strcmp(json_string_value(json_object_get(object, "text")), "cannot open 'a?.h5'") == 0);
    json_decref(object);
    rt_progress_view_free(view);
    CHECK(access(partial, F_OK) != 0);
    (void)unlink(name);
    (void)rmdir(folder);
    (void)fclose(stream);
}

RT_TEST("a file that cannot be written is told once and ends nothing")
{
    FILE *stream = tmpfile();
    REQUIRE(stream != NULL);
    struct rt_progress_view_options options = {.mode = RT_PROGRESS_NEVER,
                                               .stream = stream,
                                               .job = "build",
                                               .file = "/nowhere/progress.json"};
    struct rt_progress_view *view = NULL;
    CHECK_OK(rt_progress_view_new(&options, &view, &err));
    REQUIRE(view != NULL);
    for (int i = 0; i < 5; i++) {
        struct rt_progress_state state = state_at(i * 2, 0);
        rt_progress_view_show(view, &state);
    }
    rt_progress_view_end(view, "done", NULL);
    rt_progress_view_free(view);
    char text[1024];
    rewind(stream);
    text[fread(text, 1, sizeof text - 1, stream)] = '\0';
    CHECK(count(text,
                "warning: cannot write '/nowhere/progress.json': No such file or directory") == 1);
    CHECK(count(text, "\n") == 1);
    (void)fclose(stream);
}

RT_TEST_MAIN()
