/* The program: what was asked for, on which ranks, and how it ended. The only place that maps a
 * status to an exit code and prints the one line of an error. */
#include "core/assign.h"
#include "core/fpenv.h"
#include "core/kernels/kernels.h"
#include "jobs/blas_choice.h"
#include "jobs/help.h"
#include "jobs/job.h"
#include "jobs/version.h"
#include "mpi/agree.h"
#include "mpi/signals.h"
#include "mpi/watchdog.h"
#include "mpi/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static enum rt_status (*const runs[RT_N_JOBS])(struct rt_job *, struct rt_error *) = {
    [RT_JOB_SYNTH] = rt_synth_run,   [RT_JOB_PLAN] = rt_plan_run,
    [RT_JOB_BUILD] = rt_build_run,   [RT_JOB_SEARCH] = rt_search_run,
    [RT_JOB_INFO] = rt_info_run,     [RT_JOB_VERIFY] = rt_verify_run,
    [RT_JOB_INSERT] = rt_insert_run, [RT_JOB_DELETE] = rt_delete_run,
    [RT_JOB_VACUUM] = rt_vacuum_run, [RT_JOB_EXPORT] = rt_export_run,
    [RT_JOB_IMPORT] = rt_import_run, [RT_JOB_WATCH] = rt_watch_run,
};

enum wish { WISH_JOB, WISH_HELP, WISH_JOB_HELP, WISH_VERSION };

/* What rank 0 has read from the command line; broadcast as bytes. */
struct call {
    enum wish wish;
    bool as_json;   /* the version */
    bool knows_job; /* options.job is set, also where its options were refused */
    struct rt_options options;
};

/* A file opened later must not get the number of a standard stream that the caller has closed: what
 * is printed would end in it. Writing to the stand-in fails as it would have. */
static void hold_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* Must be known before MPI starts, on every process. */
static bool asks_for_mpio(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "mpio") == 0 || strcmp(argv[i], "--io=mpio") == 0)
            return true;
    return false;
}

static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

/* When the batch system will end the job, in seconds since 1970; ours first, as our job scripts set
 * it. Rank 0 asks, for all. */
static enum rt_status take_time_limit(struct rt_options *options, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static const char *const variables[] = {"RANKTAPE_END", "SLURM_JOB_END_TIME"};
    for (size_t i = 0; i < 2 && options->origin[RT_OPT_time_limit] == RT_FROM_AUTO; i++) {
        const char *text = getenv(variables[i]);
        char *rest = NULL;
        if (!text || !*text)
            continue;
        unsigned long long end = strtoull(text, &rest, 10);
        if (*rest || text[0] < '0' || text[0] > '9' || end > UINT32_MAX * 4ULL)
            RT_FAIL(RT_USAGE, "%s takes seconds since 1970, not '%.40s'", variables[i], text);
        double left = (double)end - (double)time(NULL);
        options->time_limit = left > 1 ? left : 1;
        options->origin[RT_OPT_time_limit] = RT_FROM_ENVIRONMENT;
    }
done:
    return st;
}

static enum rt_status read_call(int argc, char **argv, struct call *call, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *word = argc > 1 ? argv[1] : "";
    call->wish = WISH_JOB;
    if (!*word)
        RT_FAIL(RT_USAGE, "which job? (ranktape --help)");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        call->wish = WISH_HELP;
        goto done;
    }
    if (strcmp(word, "--version") == 0) {
        call->as_json = argc == 3 && strcmp(argv[2], "--json") == 0;
        if (argc > 2 && !call->as_json)
            RT_FAIL(RT_USAGE, "--version takes --json and nothing else");
        call->wish = WISH_VERSION;
        goto done;
    }
    enum rt_job_id id;
    if (rt_job_parse(word, &id) != 0)
        RT_FAIL(RT_USAGE, "'%.60s' is no job (ranktape --help)", word);
    call->knows_job = true;
    call->options.job = id;
    RT_TRY(rt_options_parse(id, argc - 1, argv + 1, &call->options, err));
    if (rt_option_table[RT_OPT_time_limit].jobs & 1u << id)
        RT_TRY(take_time_limit(&call->options, err));
    call->wish = call->options.help ? WISH_JOB_HELP : WISH_JOB;
done:
    return st;
}

static enum rt_status grant(const struct call *call, struct rt_error *err)
{
    switch (call->wish) {
    case WISH_HELP:
        rt_help_program(stdout);
        break;
    case WISH_JOB_HELP:
        rt_help_job(call->options.job, stdout);
        break;
    case WISH_VERSION:
        return rt_version_write(call->as_json, stdout, err);
    case WISH_JOB:
        break;
    }
    return RT_OK;
}

/* "ranktape: build: rank 3 on node n012: write to ..". Collective: the host is asked of its rank. A
 * status other than RT_OK is the same on all ranks here. */
static void tell(struct rt_world *world, const struct call *call, const struct rt_error *err)
{
    char host[RT_MAX_HOST] = "";
    char who[RT_MAX_HOST + 40] = "";
    if (err->rank > 0 && err->rank < world->n_ranks) {
        rt_world_host_of(world, err->rank, host);
        (void)snprintf(who, sizeof who, "rank %d on node %s: ", err->rank, host);
    }
    if (!world->speaks)
        return;
    (void)fflush(
        stdout); /* a launcher ends this rank as soon as another has ended with a failure */
    const char *job = call->knows_job ? rt_job_name(call->options.job) : "";
    (void)fprintf(stderr, "ranktape: %s%s%s%s", job, *job ? ": " : "", who, err->text);
    if (call->options.verbose >= 2)
        (void)fprintf(stderr, " [%s]", err->where);
    (void)fputc('\n', stderr);
}

static enum rt_status print_json(struct rt_job *job, enum rt_status st, const char *text)
{
    if (!job->json)
        return st;
    rt_job_set(job, "status", json_string(rt_status_name(st)));
    rt_job_set(job, "exit_status", json_integer(rt_exit_code(st)));
    if (st != RT_OK)
        rt_job_set(job, "error", rt_job_text_json(text));
    (void)json_dumpf(job->json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    (void)putchar('\n');
    json_decref(job->json);
    job->json = NULL;
    return st;
}

/* A call that was refused before there was a job to speak of. */
static void print_refusal(enum rt_status st, const char *text)
{
    struct rt_job job = {.json = json_object()};
    (void)print_json(&job, st, text);
}

static bool has_stall_timeout(enum rt_job_id job)
{
    return (rt_option_table[RT_OPT_stall_timeout].jobs & 1u << job) != 0;
}

/* A full disk or a closed pipe behind stdout must not look like success; nor like an index that is
 * as it was. */
static enum rt_status flush_output(const struct rt_world *world, const struct call *call,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool writes = call->wish == WISH_JOB && has_stall_timeout(call->options.job);
    if (world->speaks && (fflush(stdout) != 0 || ferror(stdout)))
        RT_FAIL(RT_IO, "cannot write to standard output%s",
                writes ? "; the job itself is done" : "");
done:
    return st;
}

/* A stop is asked for in time for the end within the limit, or half of it where that is short. */
static void watch_time(const struct rt_options *options)
{
    struct timespec now;
    double limit = options->time_limit;
    double grace = options->grace < limit / 2 ? options->grace : limit / 2;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (limit > 0)
        rt_signals_stop_at((double)now.tv_sec + 1e-9 * (double)now.tv_nsec + limit - grace);
    rt_watchdog_set_grace(rt_job_name(options->job), options->grace);
}

static void prepare_blas(const struct rt_job *job)
{
    (void)rt_gemm_is_sound(64); /* its buffers belong to the base of J1 */
    if (rt_blas_choice_is_poor())
        rt_job_warn(job,
                    "the BLAS runs slow kernels on this processor: %s (OPENBLAS_CORETYPE chooses)",
                    rt_blas_choice_name());
}

/* What a job frees goes back to the system, as plan counts it (J1). glibc keeps what was freed, up
 * to twice the largest array so far: 300,000 x 128 rows took 28 to 37 MiB, now always 28. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

static enum rt_status run_job(struct rt_world *world, struct call *call, bool *must_abort,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum rt_job_id id = call->options.job;
    struct rt_job job = {.world = world,
                         .comm = world->all,
                         .rank = world->rank,
                         .n_ranks = world->n_ranks,
                         .options = &call->options,
                         .name = rt_job_name(id)};
    if (call->options.json && world->rank == 0)
        job.json = json_object();
    rt_signals_install(has_stall_timeout(id)); /* the jobs with phases, which can stop */
    if (has_stall_timeout(id))
        give_memory_back();
    if (call->options.planned == RT_JOB_BUILD || call->options.planned == RT_JOB_INSERT)
        prepare_blas(&job);
    job.base_bytes = rt_rss_read().anonymous;
    if (rt_option_table[RT_OPT_grace].jobs & 1u << id)
        watch_time(&call->options);
    if (has_stall_timeout(id))
        RT_LOCAL(rt_watchdog_start(world, call->options.stall_timeout, err));
    RT_AGREE(world->all);
    RT_TRY(runs[id](&job, err));
done:
    rt_watchdog_stop();
    *must_abort = job.must_abort;
    return print_json(&job, st, err->text);
}

/* Rank 0 reads the command line; everybody learns what it says, or that it is wrong. */
static enum rt_status share_call(struct rt_world *world, int argc, char **argv, struct call *call,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (world->rank == 0)
        RT_LOCAL(read_call(argc, argv, call, err));
    MPI_Bcast(call, (int)sizeof *call, MPI_BYTE, 0, world->all);
    RT_LOCAL(rt_kernels_init(err));
    RT_AGREE(world->all);
done:
    return st;
}

int main(int argc, char **argv)
{
    static struct call call; /* large: names have room for whole paths */
    struct rt_world world;
    struct rt_error err = {.rank = -1};
    bool must_abort = false;
    hold_streams();
    rt_blas_choice_make(argv);
    enum rt_status st = rt_world_begin(&argc, &argv, asks_for_mpio(argc, argv), &world, &err);
    rt_fpenv_set();
    call.knows_job = argc > 1 && rt_job_parse(argv[1], &call.options.job) == 0; /* for messages */
    if (st == RT_OK)
        st = share_call(&world, argc, argv, &call, &err);
    if (st != RT_OK && world.speaks && asks_for_json(argc, argv))
        print_refusal(st, err.text);
    if (st == RT_OK && call.wish == WISH_JOB)
        st = run_job(&world, &call, &must_abort, &err);
    else if (st == RT_OK && world.speaks)
        st = grant(&call, &err);
    if (st == RT_OK)
        st = flush_output(&world, &call, &err);
    if (st != RT_OK)
        tell(&world, &call, &err);
    if (must_abort) {
        MPI_Barrier(world.all); /* rank 0 has spoken: an abort elsewhere would cut it off */
        MPI_Abort(MPI_COMM_WORLD, rt_exit_code(st));
    }
    rt_signals_told(rt_exit_code(st));
    rt_world_end(&world);
    return rt_exit_code(st);
}
