#include "tests/fuzz/fuzz_jobs.h"

#include "core/fpenv.h"
#include "core/kernels/kernels.h"
#include "io/index_dir.h"
#include "jobs/job.h"
#include "mpi/world.h"

#include <dirent.h>
#include <unistd.h>

#define MOST_WORDS 24

static enum rt_status (*const runs[RT_N_JOBS])(struct rt_job *, struct rt_error *) = {
    [RT_JOB_SYNTH] = rt_synth_run,   [RT_JOB_BUILD] = rt_build_run,
    [RT_JOB_SEARCH] = rt_search_run, [RT_JOB_INFO] = rt_info_run,
    [RT_JOB_VERIFY] = rt_verify_run, [RT_JOB_INSERT] = rt_insert_run,
    [RT_JOB_DELETE] = rt_delete_run, [RT_JOB_VACUUM] = rt_vacuum_run,
    [RT_JOB_EXPORT] = rt_export_run, [RT_JOB_IMPORT] = rt_import_run,
};

static struct rt_world world;

static void end_world(void)
{
    rt_world_end(&world);
}

void fuzz_jobs_begin(const char *program)
{
    struct rt_error err;
    static char name[40];
    static char *words[] = {name, NULL};
    char **argv = words;
    int argc = 1;
    (void)snprintf(name, sizeof name, "%s", program);
    FUZZ_CHECK(rt_world_begin(&argc, &argv, false, &world, &err) == RT_OK);
    (void)atexit(end_world);
    rt_die_install(abort);
    rt_fpenv_set();
    FUZZ_CHECK(rt_kernels_init(&err) == RT_OK && freopen("/dev/null", "w", stdout));
}

enum rt_status fuzz_run(const char *line, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    static struct rt_options options;
    char words[200];
    char *argv[MOST_WORDS + 1];
    int argc = 0;
    (void)snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word && argc < MOST_WORDS; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    FUZZ_CHECK(rt_job_parse(argv[0], &options.job) == 0);
    RT_TRY(rt_options_parse(options.job, argc, argv, &options, err));
    struct rt_job job = {.world = &world,
                         .comm = world.all,
                         .n_ranks = 1,
                         .options = &options,
                         .name = rt_job_name(options.job)};
    RT_TRY(runs[options.job](&job, err));
done:
    return st;
}

void fuzz_must(const char *line)
{
    struct rt_error err;
    if (fuzz_run(line, &err) != RT_OK) {
        (void)fprintf(stderr, "%s: %s\n", line, err.text);
        exit(99);
    }
}

void fuzz_empty_folder(const char *path)
{
    struct rt_error err;
    DIR *folder = opendir(path);
    char name[RT_PATH_MAX];
    FUZZ_CHECK(rt_index_remove_checkpoint(path, &err) == RT_OK);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            (void)unlink(name);
    }
    if (folder)
        (void)closedir(folder);
}
