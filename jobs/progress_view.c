#include "jobs/progress_view.h"

#include "core/memory.h"
#include "core/units.h"
#include "io/fs.h"
#include "io/index_dir.h"
#include "jobs/progress_text.h"
#include "mpi/agree.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FIRST_DRAW_SECONDS 1.0
#define DRAW_SECONDS (1.0 / 6)
#define LINE_SECONDS 10.0
#define FILE_SECONDS 1.0
#define MAX_COLUMNS 100
#define BAR_COLUMNS 26
#define MOST_FINISHED 16 /* phases that are told of: of a vacuum in many rounds the last */

struct rt_progress_view {
    FILE *stream;
    const char *job;
    const char *file;             /* --progress-file, or NULL */
    char index_file[RT_PATH_MAX]; /* of the index that is written, or "" */
    const char *index;
    const struct rt_lock *lock; /* of that index */
    double began;
    bool has_bar, has_lines;
    bool is_utf8;
    bool is_drawn; /* a bar stands on the terminal */
    const char *phase;
    double last_draw, last_line, last_file; /* in seconds of the phase */
    double last_index;                      /* in seconds of a clock */
    json_t *last;                           /* what the files hold */
    json_t *finished;                       /* phases: the latest */
};

static double clock_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

enum rt_status rt_progress_view_new(const struct rt_progress_view_options *options,
                                    struct rt_progress_view **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_progress_view *view = NULL;
    RT_TRY(rt_array_zero(1, sizeof *view, &view, err));
    bool is_terminal = isatty(fileno(options->stream)) == 1;
    bool shows = options->mode == RT_PROGRESS_ALWAYS ||
                 (options->mode == RT_PROGRESS_AUTO && !options->is_quiet);
    view->stream = options->stream;
    view->job = options->job;
    view->file = options->file;
    view->began = clock_now();
    view->has_bar = shows && is_terminal;
    view->has_lines = shows && !is_terminal;
    view->is_utf8 = rt_progress_speaks_utf8();
    *out = view;
done:
    return st;
}

enum rt_status rt_progress_view_start(const struct rt_job *job, struct rt_progress_view **view,
                                      struct rt_progress **progress, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_options *options = job->options;
    struct rt_progress_view_options how = {
        .mode = (enum rt_progress_mode)options->progress,
        .is_quiet = options->quiet,
        .stream = stderr,
        .job = job->name,
        .file = options->progress_file[0] ? options->progress_file : NULL};
    if (job->rank == 0)
        RT_LOCAL(rt_progress_view_new(&how, view, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_progress_new(job->comm, rt_progress_view_show, *view, progress, err));
done:
    return st;
}

void rt_progress_view_free(struct rt_progress_view *view)
{
    if (!view)
        return;
    rt_progress_view_clear(view);
    json_decref(view->last);
    json_decref(view->finished);
    rt_array_free(view);
}

void rt_progress_view_set_index(struct rt_progress_view *view, const char *dir,
                                const struct rt_lock *lock)
{
    if (!view)
        return;
    view->index = dir;
    view->lock = lock;
    int n = snprintf(view->index_file, sizeof view->index_file, "%s/checkpoint/progress.json", dir);
    if (n < 0 || (size_t)n >= sizeof view->index_file - sizeof ".partial")
        view->index_file[0] = '\0'; /* nobody is told, then */
}

/* ---- what a state amounts to ---- */

struct figures {
    uint64_t done;
    double fraction;     /* 0..1, or -1: unknown */
    double rate;         /* units a second, 0: unknown */
    double seconds_left; /* -1: unknown */
};

static struct figures measure(const struct rt_progress_state *state)
{
    struct figures f = {.done = state->counters[RT_COUNT_DONE], .fraction = -1, .seconds_left = -1};
    uint64_t now = f.done > state->resumed ? f.done - state->resumed : 0;
    if (state->seconds > 0)
        f.rate = (double)now / state->seconds;
    if (state->total > 0) {
        uint64_t capped = f.done < state->total ? f.done : state->total;
        f.fraction = (double)capped / (double)state->total;
        if (f.rate > 0)
            f.seconds_left = (double)(state->total - capped) / f.rate;
    }
    return f;
}

/* '412,000/1,000,000 rows 520,000 rows/s', or the note where the phase has one. */
static void describe(const struct rt_progress_state *state, const struct figures *f, char *text,
                     size_t size)
{
    char done[RT_UNITS_TEXT];
    char total[RT_UNITS_TEXT];
    char rate[RT_UNITS_TEXT];
    (void)rt_units_count(f->done, done);
    (void)rt_units_count(state->total, total);
    (void)rt_units_rate(f->rate, rate);
    if (state->note[0])
        (void)snprintf(text, size, "%s", state->note);
    else
        (void)snprintf(text, size, "%s%s%s %s %s %s/s", done, state->total ? "/" : "",
                       state->total ? total : "", state->unit, rate, state->unit);
}

/* ---- terminal and log ---- */

void rt_progress_view_clear(struct rt_progress_view *view)
{
    if (!view)
        return;
    if (!view->is_drawn)
        return;
    (void)fputs("\r\033[K", view->stream);
    (void)fflush(view->stream);
    view->is_drawn = false;
}

static int columns_of(FILE *stream)
{
    struct winsize size;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col < MAX_COLUMNS ? size.ws_col : MAX_COLUMNS;
}

static void draw(struct rt_progress_view *view, const struct rt_progress_state *state,
                 const struct figures *f)
{
    char text[2 * MAX_COLUMNS];
    char left[RT_UNITS_TEXT];
    char tail[64] = "";
    describe(state, f, text, sizeof text);
    bool has_bar = f->fraction >= 0;
    if (has_bar)
        (void)snprintf(tail, sizeof tail, "%4.0f %%%s%s%s", f->fraction * 100,
                       f->seconds_left >= 0 ? "  " : "",
                       f->seconds_left >= 0 ? rt_units_left(f->seconds_left, left) : "",
                       f->seconds_left >= 0 ? " left" : "");
    int room =
        columns_of(view->stream) - 1 - 9 - (int)strlen(tail); /* the last column would wrap */
    has_bar = has_bar && room >= BAR_COLUMNS + 20;
    int text_columns = has_bar ? room - BAR_COLUMNS - 1 : room;
    if (text_columns < 0)
        text_columns = 0;
    (void)fprintf(view->stream, "\r%-8.8s %-*.*s", state->phase, text_columns, text_columns, text);
    if (has_bar) {
        char bar[RT_BAR_BYTES(BAR_COLUMNS)];
        (void)fprintf(view->stream, " %s",
                      rt_progress_bar(f->fraction, BAR_COLUMNS, view->is_utf8, bar));
    }
    (void)fprintf(view->stream, "%s\033[K", tail);
    (void)fflush(view->stream);
    view->is_drawn = true;
}

static void print_line(struct rt_progress_view *view, const struct rt_progress_state *state,
                       const struct figures *f)
{
    char text[2 * MAX_COLUMNS];
    char left[RT_UNITS_TEXT];
    describe(state, f, text, sizeof text);
    (void)fprintf(view->stream, "%-8s", state->phase);
    if (f->fraction >= 0)
        (void)fprintf(view->stream, " %.1f %%", f->fraction * 100);
    (void)fprintf(view->stream, " %s", text);
    if (f->seconds_left >= 0)
        (void)fprintf(view->stream, " %s left", rt_units_left(f->seconds_left, left));
    (void)fputc('\n', view->stream);
    (void)fflush(view->stream);
}

/* ---- files ---- */

/* Whole or not at all: a reader never sees half a file. Not synced; it tells of now. 0 or errno. */
static int write_whole(const json_t *object, const char *name)
{
    char partial[4096];
    int n = snprintf(partial, sizeof partial, "%s.partial", name);
    if (n < 0 || (size_t)n >= sizeof partial)
        return ENAMETOOLONG;
    errno = 0;
    if (json_dump_file(object, partial, JSON_INDENT(2) | JSON_PRESERVE_ORDER) != 0 ||
        rename(partial, name) != 0)
        return errno ? errno : EIO;
    return 0;
}

/* Progress is no reason to end a job. */
static void write_file(struct rt_progress_view *view)
{
    int failure = view->file ? write_whole(view->last, view->file) : 0;
    if (!failure)
        return;
    rt_progress_view_clear(view);
    (void)fprintf(view->stream,
                  "ranktape: %s: warning: cannot write '%s': %s; no progress there from here on\n",
                  view->job, view->file, strerror(failure));
    view->file = NULL;
}

/* With the lock, once another has it, goes the file. */
static void leave_to_taker(struct rt_progress_view *view)
{
    struct rt_error ignored;
    if (view->index_file[0] && rt_lock_check(view->lock, &ignored) == RT_USAGE)
        view->index_file[0] = '\0';
}

/* Nobody has asked for it: what cannot be written now is written when it can. The folder goes with
 * every generation that a job publishes. */
static void write_index_file(struct rt_progress_view *view)
{
    char folder[RT_PATH_MAX];
    struct rt_error ignored;
    leave_to_taker(view);
    if (view->index_file[0] && write_whole(view->last, view->index_file) == ENOENT &&
        rt_index_checkpoint_dir(view->index, folder, &ignored) == RT_OK)
        (void)write_whole(view->last, view->index_file);
}

static void remove_index_file(const struct rt_progress_view *view)
{
    char folder[RT_PATH_MAX];
    if (!view->index_file[0] || unlink(view->index_file) != 0)
        return;
    (void)snprintf(folder, sizeof folder, "%s", view->index_file);
    *strrchr(folder, '/') = '\0';
    (void)rmdir(folder); /* unless it holds more */
}

static void stamp(struct rt_progress_view *view)
{
    (void)json_object_set_new(view->last, "updated", json_integer((json_int_t)time(NULL)));
}

static json_t *number_or_null(double value)
{
    return value >= 0 ? json_real(value) : json_null();
}

static void remember(struct rt_progress_view *view, const struct rt_progress_state *state,
                     const struct figures *f)
{
    const uint64_t *c = state->counters;
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:f, s:f, s:o, s:I, s:I, s:I, s:I, s:i, s:s}", "job",
        view->job, "state",
        state->is_failed     ? "failing"
        : state->is_stopping ? "stopping"
                             : "running",
        "phase", state->phase, "unit", state->unit, "done", (json_int_t)f->done, "total",
        (json_int_t)state->total, "fraction", number_or_null(f->fraction), "rate", f->rate,
        "seconds", state->seconds, "seconds_left", number_or_null(f->seconds_left), "bytes_read",
        (json_int_t)c[RT_COUNT_BYTES_READ], "bytes_written", (json_int_t)c[RT_COUNT_BYTES_WRITTEN],
        "bytes_sent", (json_int_t)c[RT_COUNT_BYTES_SENT], "skipped",
        (json_int_t)c[RT_COUNT_SKIPPED], "ranks", state->n_ranks, "note", state->note);
    if (!object) /* no memory, or a note that is no UTF-8: the files keep what they have */
        return;
    (void)json_object_set_new(object, "slowest_rank", json_integer(state->behind_rank));
    (void)json_object_set_new(object, "slowest_done", json_integer((json_int_t)state->behind_done));
    (void)json_object_set_new(object, "memory_bytes",
                              json_integer((json_int_t)state->memory_bytes));
    (void)json_object_set_new(object, "job_seconds", json_real(clock_now() - view->began));
    (void)json_object_set_new(object, "lock",
                              json_string(view->lock ? rt_lock_nonce(view->lock) : ""));
    if (view->finished)
        (void)json_object_set(object, "finished", view->finished);
    json_decref(view->last);
    view->last = object;
}

static void add_finished(struct rt_progress_view *view, const struct rt_progress_state *state,
                         const struct figures *f)
{
    json_t *phase =
        json_pack("{s:s, s:s, s:f, s:I, s:f}", "phase", state->phase, "unit", state->unit,
                  "seconds", state->seconds, "done", (json_int_t)f->done, "rate", f->rate);
    if (!view->finished)
        view->finished = json_array();
    if (phase && view->finished)
        (void)json_array_append_new(view->finished, phase);
    if (json_array_size(view->finished) > MOST_FINISHED)
        (void)json_array_remove(view->finished, 0);
}

/* ---- all together ---- */

static void show_in_files(struct rt_progress_view *view, const struct rt_progress_state *state,
                          const struct figures *f, bool is_new)
{
    double now = clock_now();
    bool is_due = view->file &&
                  (is_new || state->is_last || state->seconds >= view->last_file + FILE_SECONDS);
    /* a job that is over within a second leaves no trace in its index */
    bool is_index_due = view->index_file[0] && now >= view->began + FILE_SECONDS &&
                        now >= view->last_index + FILE_SECONDS;
    if (!is_due && !is_index_due)
        return;
    remember(view, state, f);
    if (!view->last)
        return;
    stamp(view);
    if (is_due) {
        write_file(view);
        view->last_file = state->seconds;
    }
    if (is_index_due) {
        write_index_file(view);
        view->last_index = now;
    }
}

void rt_progress_view_show(void *context, const struct rt_progress_state *state)
{
    struct rt_progress_view *view = context;
    struct figures f = measure(state);
    bool is_new =
        !view->phase || strcmp(view->phase, state->phase) != 0 || state->seconds < view->last_file;
    if (is_new) {
        view->phase = state->phase;
        view->last_draw = FIRST_DRAW_SECONDS - DRAW_SECONDS;
        view->last_line = 0;
        view->last_file = 0;
    }
    if (state->is_last)
        rt_progress_view_clear(view); /* the job prints the phase's summary in its place */
    else if (view->has_bar && state->seconds >= view->last_draw + DRAW_SECONDS) {
        draw(view, state, &f);
        view->last_draw = state->seconds;
    } else if (view->has_lines && state->seconds >= view->last_line + LINE_SECONDS) {
        print_line(view, state, &f);
        view->last_line = state->seconds;
    }
    if (state->is_last)
        add_finished(view, state, &f);
    show_in_files(view, state, &f, is_new);
}

/* JSON holds UTF-8 only, a message may hold any file name. */
static json_t *text_or_plain(const char *text)
{
    json_t *whole = json_string(text);
    if (whole)
        return whole;
    char plain[512];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof plain; n++)
        plain[n] = (char)((unsigned char)text[n] < 0x80 ? text[n] : '?');
    plain[n] = '\0';
    return json_string(plain);
}

void rt_progress_view_end(struct rt_progress_view *view, const char *state, const char *text)
{
    if (!view)
        return;
    rt_progress_view_clear(view);
    leave_to_taker(view);
    if (!view->last)
        view->last = json_pack("{s:s}", "job", view->job);
    if (!view->last)
        return;
    (void)json_object_set_new(view->last, "state", json_string(state));
    if (text)
        (void)json_object_set_new(view->last, "text", text_or_plain(text));
    stamp(view);
    write_file(view);
    if (strcmp(state, rt_status_name(RT_OK)) == 0)
        remove_index_file(view);
    else if (view->index_file[0])
        (void)write_whole(view->last, view->index_file); /* where the folder is still there */
}
