/* Indexes that lie: every job that opens one, over files whose checksums and hashes fit while their
 * values, attributes or shapes do not (HDF5's own bytes are sound: its parser is not ours). The
 * first byte is the job, the second the index, then lies of 14 bytes each. */
#include "core/memory.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_jobs.h"
#include "tests/fuzz/lying_file.h"

#include <sys/stat.h>

#define INDEX "index"
#define MOST_FILES 16
#define MOST_LIES 8

struct sound_index {
    char *manifest;
    size_t n_bytes, n_files;
    struct lying_file files[MOST_FILES];
};
static struct sound_index indexes[3];

static const char *const jobs[] = {
    "info " INDEX " --lists",
    "search " INDEX " queries.fbin --k 3 --probes 4",
    "search " INDEX " queries.fbin --k 5 --epsilon 1e6 --filter ids.u64 --threads 2",
    "search " INDEX " --sample-truth 2 --k 3",
    "verify " INDEX,
    "verify " INDEX " --full",
    "delete " INDEX " --ids ids.u64 --memory 64M --quiet",
    "insert " INDEX " more.fbin --replace --ids more.u64 --memory 64M --quiet",
    "vacuum " INDEX " --full --memory 64M --quiet",
    "vacuum " INDEX " --memory 64M --quiet",
};

/* ---- the indexes, made once ---- */

static void write_ids(const char *name, uint64_t begin, uint64_t end, uint64_t step)
{
    uint64_t ids[200];
    size_t n = 0;
    for (uint64_t id = begin; id < end; id += step)
        ids[n++] = id * 7919 % 1009; /* in no order */
    fuzz_write(name, ids, n * sizeof *ids);
}

static void read_index(struct sound_index *index, const char *dir)
{
    struct rt_error err;
    struct rt_manifest *manifest = NULL;
    FUZZ_CHECK(fuzz_ok(rt_manifest_read_current(dir, &manifest, &err), &err));
    FUZZ_CHECK(fuzz_ok(rt_manifest_print(manifest, &index->manifest, &index->n_bytes, &err), &err));
    FUZZ_CHECK(manifest->n_files <= MOST_FILES);
    for (size_t i = 0; i < manifest->n_files; i++)
        lying_file_read(dir, &manifest->files[i], &index->files[i]);
    index->n_files = manifest->n_files;
    rt_manifest_free(manifest);
}

static void make_indexes(void)
{
    fuzz_must("synth rows.fbin --rows 150 --dim 9 --queries queries.fbin --query-count 3");
    fuzz_must("synth more.fbin --rows 60 --dim 9 --seed 5");
    write_ids("rows.u64", 0, 150, 1);
    write_ids("more.u64", 120, 180, 1);
    write_ids("ids.u64", 1, 150, 3);
    fuzz_must("build rows.fbin flat --lists 6 --memory 64M --quiet");
    fuzz_must("build rows.fbin heap --lists 2,8 --metric ip --rerank-in-heap --memory 64M --quiet");
    fuzz_must("build rows.fbin lived --lists 2,6 --ids rows.u64 --tapes 2 --memory 64M --quiet");
    fuzz_must("delete lived --ids ids.u64 --memory 64M --quiet");
    fuzz_must("vacuum lived --full --memory 64M --quiet");
    fuzz_must("insert lived more.fbin --ids more.u64 --replace --memory 64M --quiet");
    (void)mkdir(INDEX, 0777);
    read_index(&indexes[0], "flat");
    read_index(&indexes[1], "heap");
    read_index(&indexes[2], "lived");
}

/* ---- one input ---- */

static void change_manifest(struct rt_manifest *m, const struct lie *lie)
{
    uint64_t *const wide[] = {&m->n_rows,         &m->n_rows_frozen, &m->n_rows_appendable,
                              &m->n_rows_skipped, &m->n_tombstones,  &m->largest_id,
                              &m->next_row,       &m->rotation_seed, &m->heaps[0].first_row,
                              &m->heaps[0].n_rows};
    uint32_t *const narrow[] = {&m->n_segments, &m->beam, &m->dim, &m->levels[0]};
    const size_t n_wide = sizeof wide / sizeof *wide;
    size_t field = lie->which % (n_wide + sizeof narrow / sizeof *narrow);
    if (field < n_wide)
        *wide[field] = lie_value(lie, *wide[field]) & INT64_MAX;
    else
        *narrow[field - n_wide] = (uint32_t)lie_value(lie, *narrow[field - n_wide]);
}

/* The index with its lies, everything signed. */
static void write_index(const struct sound_index *sound, const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_manifest *manifest = NULL;
    struct lying_file files[MOST_FILES];
    FUZZ_CHECK(rt_manifest_parse("sound", sound->manifest, sound->n_bytes, &manifest, &err) ==
               RT_OK);
    fuzz_empty_folder(INDEX);
    for (size_t i = 0; i < sound->n_files; i++)
        lying_file_copy(&sound->files[i], &files[i]);
    for (int i = 0; i < MOST_LIES && size > 0; i++) {
        struct lie lie = lie_take(&data, &size);
        if (lie.file % (sound->n_files + 1) == sound->n_files)
            change_manifest(manifest, &lie);
        else
            lying_file_change(&files[lie.file % (sound->n_files + 1)], &lie);
    }
    for (size_t i = 0; i < sound->n_files; i++) {
        lying_file_sign(INDEX, &files[i], manifest);
        free(files[i].bytes);
    }
    FUZZ_CHECK(rt_manifest_publish(INDEX, manifest, NULL, &err) == RT_OK);
    rt_manifest_free(manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    struct rt_error err;
    if (!is_ready) {
        fuzz_jobs_begin("fuzz_index");
        make_indexes();
    }
    is_ready = true;
    uint64_t job = fuzz_take(&data, &size, 1) % (sizeof jobs / sizeof *jobs);
    uint64_t index = fuzz_take(&data, &size, 1) % (sizeof indexes / sizeof *indexes);
    write_index(&indexes[index], data, size);
    size_t held = rt_memory_now();
    bool is_done = fuzz_ok(fuzz_run(jobs[job], &err), &err);
    if (!is_done && size == 0) /* without a lie there is nothing to refuse */
        (void)fprintf(stderr, "%s: %s\n", jobs[job], err.text);
    FUZZ_CHECK(is_done || size > 0);
    FUZZ_CHECK(rt_memory_now() == held);
    return 0;
}
