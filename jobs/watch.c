/* ranktape watch: what the job that writes an index is doing, live on a terminal, line by line
 * elsewhere. It reads a few small files and disturbs nobody. */
#include "jobs/job.h"

#include "core/units.h"
#include "jobs/job_watch.h"
#include "jobs/progress_text.h"
#include "jobs/screen.h"
#include "mpi/agree.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_SECONDS 0.5
#define LINE_SECONDS 10.0
#define SILENT_SECONDS 30.0 /* news are due every second */
#define MOST_COLUMNS 100
#define LABEL_COLUMNS 11

/* Lines of text, each cut to the columns there are. */
struct frame {
    char text[8192];
    size_t n;
    int columns, lines, n_lines;
    bool is_utf8;
};

static uint64_t count_of(double value)
{
    return value > 0 && value < 1e18 ? (uint64_t)value : 0;
}

/* A line with its label; `bar` (may be NULL) of bar_columns stands before the text. */
static void add_line(struct frame *f, const char *label, const char *bar, int bar_columns,
                     const char *format, ...) RT_PRINTF(5, 6);
static void add_line(struct frame *f, const char *label, const char *bar, int bar_columns,
                     const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (f->n_lines >= f->lines || f->n + 1024 > sizeof f->text)
        return;
    int room = f->columns - LABEL_COLUMNS - 1 - (bar ? bar_columns + 1 : 0);
    f->n += (size_t)snprintf(f->text + f->n, sizeof f->text - f->n, "%-*.*s %s%s%.*s\n",
                             LABEL_COLUMNS, LABEL_COLUMNS, label, bar ? bar : "", bar ? " " : "",
                             room > 0 ? room : 0, text);
    f->n_lines++;
}

static void add_finished(struct frame *f, const json_t *progress)
{
    const json_t *finished = json_object_get(progress, "finished");
    size_t n = json_array_size(finished);
    size_t most = f->lines > 16 ? (size_t)(f->lines - 14) : 2;
    for (size_t i = n > most ? n - most : 0; i < n; i++) {
        const json_t *phase = json_array_get(finished, i);
        char name[16];
        char unit[16];
        char seconds[RT_UNITS_TEXT];
        char done[RT_UNITS_TEXT];
        char rate[RT_UNITS_TEXT];
        rt_watch_text(phase, "unit", unit, sizeof unit);
        add_line(f, rt_watch_text(phase, "phase", name, sizeof name), NULL, 0,
                 "%7s   %s %s, %s %s/s",
                 rt_units_seconds(rt_watch_number(phase, "seconds"), seconds),
                 rt_units_count(count_of(rt_watch_number(phase, "done")), done), unit,
                 rt_units_rate(rt_watch_number(phase, "rate"), rate), unit);
    }
}

static void add_bar(struct frame *f, const json_t *p)
{
    char phase[16];
    char left[RT_UNITS_TEXT];
    char bar[RT_BAR_BYTES(MOST_COLUMNS)];
    double fraction = rt_watch_number(p, "fraction");
    bool is_known = json_is_number(json_object_get(p, "fraction")) && fraction >= 0;
    int columns = f->columns - LABEL_COLUMNS - 22;
    columns = columns > 60 ? 60 : columns;
    rt_watch_text(p, "phase", phase, sizeof phase);
    fraction = fraction > 1 ? 1 : fraction;
    if (!is_known || columns < 4)
        add_line(f, phase, NULL, 0, "at work for %s",
                 rt_units_left(rt_watch_number(p, "seconds"), left));
    else
        add_line(f, phase, rt_progress_bar(fraction, columns, f->is_utf8, bar), columns,
                 "%3.0f %%%s%s%s", 100 * fraction,
                 json_is_number(json_object_get(p, "seconds_left")) ? "  " : "",
                 json_is_number(json_object_get(p, "seconds_left"))
                     ? rt_units_left(rt_watch_number(p, "seconds_left"), left)
                     : "",
                 json_is_number(json_object_get(p, "seconds_left")) ? " left" : "");
}

static void add_figures(struct frame *f, const json_t *p)
{
    char unit[16];
    char note[128];
    char text[4][RT_UNITS_TEXT];
    uint64_t done = count_of(rt_watch_number(p, "done"));
    uint64_t total = count_of(rt_watch_number(p, "total"));
    int ranks = (int)count_of(rt_watch_number(p, "ranks") < 1e9 ? rt_watch_number(p, "ranks") : 0);
    rt_watch_text(p, "unit", unit, sizeof unit);
    if (*rt_watch_text(p, "note", note, sizeof note))
        add_line(f, "", NULL, 0, "%s", note);
    else
        add_line(f, "", NULL, 0, "%s%s%s %s, %s %s/s", rt_units_count(done, text[0]),
                 total ? " of " : "", total ? rt_units_count(total, text[1]) : "", unit,
                 rt_units_rate(rt_watch_number(p, "rate"), text[2]), unit);
    add_line(f, "bytes", NULL, 0, "%s read, %s written, %s exchanged",
             rt_units_bytes(count_of(rt_watch_number(p, "bytes_read")), text[0]),
             rt_units_bytes(count_of(rt_watch_number(p, "bytes_written")), text[1]),
             rt_units_bytes(count_of(rt_watch_number(p, "bytes_sent")), text[2]));
    if (ranks > 1)
        add_line(f, "ranks", NULL, 0, "%d; least is done by rank %.0f: %s %s of %s on average",
                 ranks, rt_watch_number(p, "slowest_rank"),
                 rt_units_count(count_of(rt_watch_number(p, "slowest_done")), text[0]), unit,
                 rt_units_count(done / (uint64_t)ranks, text[1]));
    add_line(f, "memory", NULL, 0, "%s private in the rank that holds most",
             rt_units_bytes(count_of(rt_watch_number(p, "memory_bytes")), text[0]));
}

static void add_owner(struct frame *f, const struct rt_watch *w)
{
    char when[32] = "an unknown time";
    char job[16];
    time_t since = (time_t)w->owner.since;
    struct tm local;
    if (localtime_r(&since, &local))
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
    rt_watch_text(w->progress, "job", job, sizeof job);
    add_line(f, job[0] ? job : "job", NULL, 0, "%s%s%sprocess %" PRIu64 " on %s, since %s",
             w->owner.job_id[0] ? "batch job " : "", w->owner.job_id,
             w->owner.job_id[0] ? ", " : "", w->owner.pid,
             w->owner.host[0] ? w->owner.host : "a host that cannot be read", when);
}

static void add_news(struct frame *f, const struct rt_watch *w)
{
    char text[RT_UNITS_TEXT];
    char state[16];
    if (w->state == RT_WATCH_BEGINNING)
        add_line(f, "news", NULL, 0, "none yet: it has just begun, or tells nothing");
    else if (w->age > SILENT_SECONDS)
        add_line(f, "news", NULL, 0, "none for %s; whether it lives cannot be told from here",
                 rt_units_left(w->age, text));
    else
        add_line(f, "news", NULL, 0, "%s, %.0f s ago",
                 rt_watch_text(w->progress, "state", state, sizeof state), w->age > 0 ? w->age : 0);
}

static void compose(struct frame *f, const char *dir, const struct rt_watch *w, bool has_keys)
{
    f->n = 0;
    f->n_lines = 0;
    f->text[0] = '\0';
    char name[512];
    (void)snprintf(name, sizeof name, "%s", dir);
    for (char *c = name; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    add_line(f, "index", NULL, 0, "%s", name);
    add_owner(f, w);
    if (w->generation)
        add_line(f, "published", NULL, 0, "generation %" PRIu64, w->generation);
    add_line(f, "", NULL, 0, "%s", "");
    add_finished(f, w->progress);
    if (w->progress) {
        add_bar(f, w->progress);
        add_figures(f, w->progress);
    }
    add_news(f, w);
    if (has_keys) {
        add_line(f, "", NULL, 0, "%s", "");
        add_line(f, "", NULL, 0, "q quits; the job goes on");
    }
}

/* ---- how it ends ---- */

static enum rt_status tell_end(const struct rt_job *job, const struct rt_watch *w,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dir = job->options->argument[0];
    char rows[RT_UNITS_TEXT];
    char what[16];
    char text[300];
    char state[16];
    rt_watch_text(w->progress, "job", what, sizeof what);
    if (w->state == RT_WATCH_DEAD)
        RT_FAIL(RT_IO, "'%s': the %s of process %" PRIu64 " on host %s has died; run it again%s",
                dir, what[0] ? what : "job", w->owner.pid, w->owner.host,
                w->generation ? "" : " with --resume");
    if (w->state == RT_WATCH_ENDED) {
        enum rt_status how =
            strcmp(rt_watch_text(w->progress, "state", state, sizeof state), "stopped") == 0
                ? RT_STOPPED
                : RT_IO;
        rt_watch_text(w->progress, "text", text, sizeof text);
        RT_FAIL(how, "'%s': the last %s has %s%s%s", dir, what[0] ? what : "job", state,
                text[0] ? ": " : "", text);
    }
    if (w->state == RT_WATCH_UNFINISHED)
        RT_FAIL(RT_IO,
                "'%s': no job is running; an unfinished build lies there: --resume or --force",
                dir);
    rt_job_row(job, "watch",
               "no job is running; generation %" PRIu64 " is published, %s rows, digest %s",
               w->generation, rt_units_count(w->n_rows, rows), w->digest);
done:
    return st;
}

static void set_json(const struct rt_job *job, const struct rt_watch *w)
{
    static const char *const names[] = {"idle",    "unfinished", "beginning",
                                        "running", "dead",       "ended"};
    bool has_owner =
        w->state == RT_WATCH_BEGINNING || w->state == RT_WATCH_RUNNING || w->state == RT_WATCH_DEAD;
    rt_job_set(job, "state", json_string(names[w->state]));
    rt_job_set(job, "generation",
               w->generation ? json_integer((json_int_t)w->generation) : json_null());
    rt_job_set(job, "progress", w->progress ? json_incref(w->progress) : json_null());
    rt_job_set(job, "host", has_owner ? rt_job_text_json(w->owner.host) : json_null());
    rt_job_set(job, "process", has_owner ? json_integer((json_int_t)w->owner.pid) : json_null());
}

static bool is_at_work(const struct rt_watch *w)
{
    return w->state == RT_WATCH_BEGINNING || w->state == RT_WATCH_RUNNING;
}

/* ---- looking again and again ---- */

static void show_once(const struct rt_job *job, const struct rt_watch *w)
{
    static struct frame f; /* large */
    f = (struct frame){
        .columns = 200, .lines = 60, .is_utf8 = rt_progress_speaks_utf8() && isatty(STDOUT_FILENO)};
    compose(&f, job->options->argument[0], w, false);
    if (f.n) /* rt_job_print adds the last newline */
        f.text[f.n - 1] = '\0';
    rt_job_print(job, "%s", f.text);
}

static enum rt_status look_again(const char *dir, struct rt_watch *w, struct rt_error *err)
{
    rt_watch_free(w);
    return rt_watch_look(dir, w, err);
}

static enum rt_status show_screen(const struct rt_job *job, struct rt_watch *w,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static struct frame f;
    const char *dir = job->options->argument[0];
    f.is_utf8 = rt_progress_speaks_utf8();
    rt_screen_open();
    while (is_at_work(w)) {
        rt_screen_size(&f.columns, &f.lines);
        f.columns = f.columns > MOST_COLUMNS ? MOST_COLUMNS : f.columns;
        compose(&f, dir, w, isatty(STDIN_FILENO));
        rt_screen_show(f.text);
        enum rt_screen_event event = rt_screen_wait(LOOK_SECONDS);
        if (event == RT_SCREEN_QUIT)
            break;
        if (event == RT_SCREEN_TIME)
            RT_TRY(look_again(dir, w, err));
    }
done:
    rt_screen_close();
    return st;
}

/* A line for each new phase and every ten seconds. */
static enum rt_status show_lines(const struct rt_job *job, struct rt_watch *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char last[16] = "";
    char phase[16];
    char unit[16];
    char text[3][RT_UNITS_TEXT];
    double waited = LINE_SECONDS;
    show_once(job, w);
    while (is_at_work(w)) {
        struct timespec pause = {0, (long)(LOOK_SECONDS * 1e9)};
        rt_watch_text(w->progress, "phase", phase, sizeof phase);
        bool is_new = strcmp(phase, last) != 0;
        if (w->progress && (is_new || waited >= LINE_SECONDS)) {
            rt_watch_text(w->progress, "unit", unit, sizeof unit);
            rt_job_row(
                job, phase, "%.1f %%   %s %s   %s %s/s   memory %s",
                100 * rt_watch_number(w->progress, "fraction"),
                rt_units_count(count_of(rt_watch_number(w->progress, "done")), text[0]), unit,
                rt_units_rate(rt_watch_number(w->progress, "rate"), text[1]), unit,
                rt_units_bytes(count_of(rt_watch_number(w->progress, "memory_bytes")), text[2]));
            (void)fflush(stdout);
            memcpy(last, phase, sizeof last);
            waited = 0;
        }
        (void)nanosleep(&pause, NULL);
        waited += LOOK_SECONDS;
        RT_TRY(look_again(job->options->argument[0], w, err));
    }
done:
    return st;
}

static enum rt_status watch(const struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_watch w = {.progress = NULL};
    RT_TRY(rt_watch_look(job->options->argument[0], &w, err));
    bool once = job->options->once || job->options->json;
    if (once && is_at_work(&w))
        show_once(job, &w);
    else if (is_at_work(&w) && isatty(STDOUT_FILENO))
        RT_TRY(show_screen(job, &w, err));
    else if (is_at_work(&w))
        RT_TRY(show_lines(job, &w, err));
    set_json(job, &w);
    if (!is_at_work(&w))
        RT_TRY(tell_end(job, &w, err));
done:
    rt_watch_free(&w);
    return st;
}

enum rt_status rt_watch_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (job->rank == 0)
        RT_LOCAL(watch(job, err));
    RT_AGREE(job->comm);
done:
    return st;
}
