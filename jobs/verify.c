/* ranktape verify: every checksum, every invariant, and the codes computed again from the vectors.
 */
#include "jobs/job.h"

#include "core/block.h"
#include "core/code.h"
#include "core/fingerprint.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/recode.h"
#include "core/units.h"
#include "io/heap_vectors.h"
#include "io/index_dir.h"
#include "io/index_verify.h"
#include "io/lock.h"
#include "jobs/first_run.h"
#include "jobs/phases/index_view.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MOST_TOLD 100u     /* errors told; all are counted */
#define SAMPLED_ROWS 2000u /* codes computed again without --full, about */

struct verifier {
    struct rt_job *job;
    struct rt_index_view *view;
    struct rt_heap_vectors *heap;
    struct rt_recoder *recoder;
    uint64_t n_errors;
    uint32_t n_told;
    char *told; /* MOST_TOLD lines of one error's length */
    unsigned char *native;
    uint8_t *code;
    uint64_t n_coded;
};
#define LINE sizeof(((struct rt_error *)0)->text)

static void report(void *context, const char *text)
{
    struct verifier *v = context;
    v->n_errors++;
    if (v->n_told < MOST_TOLD)
        (void)snprintf(v->told + (size_t)v->n_told++ * LINE, LINE, "%s", text);
}

static enum rt_status prepare(struct verifier *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = v->view->manifest;
    RT_TRY(rt_array_zero(MOST_TOLD, LINE, &v->told, err));
    RT_TRY(rt_heap_vectors_open(m, &v->job->options->heap, &v->heap, err));
    RT_TRY(rt_recoder_new(&v->view->tree.tree, m->element, &v->recoder, err));
    RT_TRY(rt_array_new(m->dim, rt_element_size(m->element), &v->native, err));
    RT_TRY(rt_array_new(v->view->code_bytes, 1, &v->code, err));
done:
    return st;
}

/* A record's vector is fetched, coded again, and must give the same bits. */
struct record {
    uint32_t list;
    uint64_t id;
    struct rt_place place;
    const uint8_t *code;
    float factors[RT_MAX_FACTORS];
};

static enum rt_status check_code(struct verifier *v, const struct record *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_place_view place;
    char text[LINE];
    RT_TRY(rt_index_place(v->view, r->place.segment, r->place.slot, &place, err));
    const void *native = place.vector;
    if (!native) {
        RT_TRY(rt_heap_vectors_read(v->heap, place.heap_row, v->native, err));
        native = v->native;
    }
    enum rt_recode_verdict verdict = rt_recode(v->recoder, native, r->list, r->code, r->factors);
    if (verdict != RT_RECODE_SAME) {
        (void)snprintf(text, sizeof text, "id %" PRIu64 " in list %" PRIu32 ": %s", r->id, r->list,
                       verdict == RT_RECODE_NO_ROW
                           ? "its vector is no row that could be indexed"
                           : "code and factors are not those of its vector");
        report(v, text);
    }
    v->n_coded += verdict != RT_RECODE_NO_ROW;
done:
    if (st == RT_DAMAGED) { /* told, and on to the next */
        report(v, err->text);
        st = RT_OK;
    }
    return st;
}

/* A row to be coded again: all of them with --full, else about SAMPLED_ROWS. */
static bool is_drawn(const struct verifier *v, uint64_t file, uint64_t row)
{
    const struct rt_manifest *m = v->view->manifest;
    uint64_t draw = rt_random(m->generation, RT_RANDOM_VERIFY, file, row, 0);
    return v->job->options->full || rt_random_below(draw, m->n_rows) < SAMPLED_ROWS;
}

static enum rt_status check_list_codes(struct verifier *v, uint32_t list, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t dim = v->view->manifest->dim;
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    if (rt_index_list(v->view, list, &blocks, &n_rows, err) != RT_OK)
        goto done; /* the structure check has told it */
    for (uint64_t i = 0; i < n_rows; i++) {
        uint64_t block = i / RT_BLOCK_ROWS;
        uint32_t row = (uint32_t)(i % RT_BLOCK_ROWS);
        struct record r = {list, blocks.ids[i], blocks.places[i], v->code, {0}};
        if (!is_drawn(v, list, i) ||
            !rt_index_is_live(v->view, r.id, rt_index_list_generation(v->view, list)))
            continue;
        rt_block_get(blocks.codes + block * rt_block_code_bytes(dim), dim, row, v->code);
        for (uint32_t f = 0; f < v->view->n_factors; f++)
            r.factors[f] = blocks.factors[(block * v->view->n_factors + f) * RT_BLOCK_ROWS + row];
        RT_TRY(check_code(v, &r, err));
    }
done:
    return st;
}

static enum rt_status check_tape_codes(struct verifier *v, const struct rt_tape_view *tape,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = v->view;
    const struct rt_tape_records *records = &tape->records;
    struct rt_range mine = rt_share(records->n_records, v->job->rank, v->job->n_ranks, 1);
    for (uint64_t i = mine.begin; i < mine.end; i++) {
        struct record r = {records->lists[i],
                           records->ids[i],
                           records->places[i],
                           records->codes + i * view->code_bytes,
                           {0}};
        if (r.list >= view->n_lists || !is_drawn(v, UINT64_MAX - tape->shape.generation, i) ||
            rt_index_list_generation(view, r.list) > tape->shape.generation ||
            !rt_index_is_live(view, r.id, tape->shape.generation))
            continue;
        memcpy(r.factors, records->factors + i * view->n_factors, view->n_factors * sizeof(float));
        RT_TRY(check_code(v, &r, err));
    }
done:
    return st;
}

static enum rt_status check_codes(struct verifier *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_range lists = rt_share(v->view->n_lists, v->job->rank, v->job->n_ranks, 1);
    for (uint32_t list = (uint32_t)lists.begin; list < lists.end; list++)
        RT_TRY(check_list_codes(v, list, err));
    for (size_t i = 0; i < v->view->n_appendable; i++)
        RT_TRY(check_tape_codes(v, &v->view->appendable[i], err));
done:
    return st;
}

static void say(const struct verifier *v, const char *what, uint64_t n_errors, const char *format,
                uint64_t amount)
{
    char number[RT_UNITS_TEXT];
    char text[160];
    (void)snprintf(text, sizeof text, format, rt_units_count(amount, number));
    rt_job_row(v->job, what, "%-58s %s", text, n_errors ? "DAMAGED" : "ok");
}

/* Sums over ranks; rows and hash against the manifest, slots in use against the rows. */
static void compare_totals(struct verifier *v, uint64_t n_rows,
                           const struct rt_index_verified *counts, struct rt_hash128 hash)
{
    const struct rt_manifest *m = v->view->manifest;
    MPI_Comm comm = v->job->comm;
    struct rt_hash128 sum = rt_sum_hash128(comm, hash);
    rt_sum_u64(comm, &n_rows, 1);
    uint64_t n_slots = counts->n_slots;
    int64_t n_unsorted = counts->n_unsorted;
    rt_sum_u64(comm, &n_slots, 1);
    rt_sum_i64(comm, &n_unsorted, 1);
    char text[LINE];
    if (v->job->rank != 0)
        return;
    if (n_rows != m->n_rows) {
        (void)snprintf(text, sizeof text, "lists hold %" PRIu64 " rows, the manifest says %" PRIu64,
                       n_rows, m->n_rows);
        report(v, text);
    }
    if (n_slots != n_rows) {
        (void)snprintf(text, sizeof text,
                       "%" PRIu64 " slots of vectors files are in use, for %" PRIu64 " rows",
                       n_slots, n_rows);
        report(v, text);
    }
    if (n_unsorted != 0)
        report(v, "sorted ids of vectors files do not find every row");
    if (sum.low != m->rows_hash.low || sum.high != m->rows_hash.high)
        report(v, "the rows' hashes do not add up to the manifest's");
    struct rt_hash128 tree_hash;
    struct rt_error err;
    if (rt_tree_hash(&v->view->tree.tree, &tree_hash, &err) != RT_OK)
        report(v, err.text);
    else if (tree_hash.low != m->tree_hash.low || tree_hash.high != m->tree_hash.high)
        report(v, "the tree's hash is not the manifest's");
}

static uint64_t errors_of_all(const struct verifier *v)
{
    uint64_t n = v->n_errors;
    rt_sum_u64(v->job->comm, &n, 1);
    return n;
}

/* The first lines that ranks have to tell, in the order of ranks, to rank 0: every rank puts its
 * own into their places of one table, so that rank 0 hears no more from many ranks than from few.
 */
static json_t *collect(struct verifier *v)
{
    MPI_Comm comm = v->job->comm;
    json_t *errors = v->job->rank == 0 ? json_array() : NULL;
    uint64_t n = v->n_told;
    uint64_t before = 0;
    uint64_t n_kept = n;
    rt_exscan_u64(comm, &n, &before, 1);
    rt_sum_u64(comm, &n_kept, 1);
    n_kept = n_kept < MOST_TOLD ? n_kept : MOST_TOLD;
    before = before < n_kept ? before : n_kept;
    n = n < n_kept - before ? n : n_kept - before;
    memmove(v->told + before * LINE, v->told, n * LINE);
    memset(v->told, 0, before * LINE);
    memset(v->told + (before + n) * LINE, 0, (n_kept - before - n) * LINE);
    if (n_kept > 0)
        MPI_Reduce(v->job->rank == 0 ? MPI_IN_PLACE : v->told, v->told, (int)(n_kept * LINE),
                   MPI_UNSIGNED_CHAR, MPI_BOR, 0, comm);
    for (uint64_t i = 0; i < n_kept && v->job->rank == 0; i++) {
        rt_job_print(v->job, "  %s", v->told + i * LINE);
        (void)json_array_append_new(errors, rt_job_text_json(v->told + i * LINE));
    }
    return errors;
}

static enum rt_status check(struct verifier *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = v->job;
    struct rt_index_verified sums = {0};
    struct rt_index_verified lists = {0};
    uint64_t n_rows = 0;
    struct rt_hash128 hash = {0, 0};
    RT_LOCAL(rt_index_verify_checksums(v->view, (uint32_t)job->rank, (uint32_t)job->n_ranks, report,
                                       v, &sums, err));
    RT_AGREE(job->comm);
    uint64_t n_errors = errors_of_all(v);
    rt_sum_u64(job->comm, &sums.n_bytes, 1);
    char bytes[RT_UNITS_TEXT];
    rt_job_row(job, "checksums", "%-58s %s", rt_units_bytes(sums.n_bytes, bytes),
               n_errors ? "DAMAGED" : "ok");

    RT_LOCAL(rt_index_verify_lists(v->view, (uint32_t)job->rank, (uint32_t)job->n_ranks, report, v,
                                   &lists, &n_rows, &hash, err));
    RT_AGREE(job->comm);
    compare_totals(v, n_rows, &lists, hash);
    uint64_t n_before = n_errors;
    n_errors = errors_of_all(v);
    say(v, "structure", n_errors - n_before, "%s rows in lists", v->view->manifest->n_rows);

    RT_LOCAL(check_codes(v, err));
    RT_AGREE(job->comm);
    n_before = n_errors;
    n_errors = errors_of_all(v);
    rt_sum_u64(job->comm, &v->n_coded, 1);
    say(v, "codes", n_errors - n_before,
        job->options->full ? "%s rows recomputed" : "%s rows recomputed (--full for all)",
        v->n_coded);

    json_t *errors = collect(v);
    rt_job_set(job, "errors", errors);
    rt_job_set(job, "n_errors", json_integer((json_int_t)n_errors));
    rt_job_set(job, "rows_recomputed", json_integer((json_int_t)v->n_coded));
    if (n_errors) {
        char count[RT_UNITS_TEXT];
        RT_FAIL(RT_DAMAGED, "'%s' is damaged: %s error%s", job->options->argument[0],
                rt_units_count(n_errors, count), n_errors == 1 ? "" : "s");
    }
done:
    return st;
}

/* *job: the name of the one that was interrupted here and that --resume goes on with; NULL: none.
 */
static enum rt_status find_interrupted(const struct verifier *v, const char **job,
                                       struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *record = NULL;
    *job = NULL;
    RT_TRY(rt_first_run_read(v->job->options->argument[0], &record, err));
    if (rt_first_run_generation(record) > v->view->manifest->generation) {
        *job = rt_job_name(rt_first_run_job(record));
        rt_job_set(v->job, "interrupted", json_string(*job));
    }
done:
    json_decref(record);
    return st;
}

/* Under the lock, and by what is current then: while this job was reading, another may have
 * published, and one that is at work has files that no generation names yet. */
static enum rt_status clean(const struct verifier *v, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_lock *lock = NULL;
    struct rt_lock_options how = {.break_lock = v->job->options->break_lock, .wait_seconds = 5};
    uint64_t n_removed = 0;
    const char *interrupted = NULL;
    struct rt_error ignored;
    char count[RT_UNITS_TEXT];
    const char *dir = v->job->options->argument[0];
    RT_TRY(rt_lock_take(dir, &how, &lock, err));
    (void)find_interrupted(v, &interrupted, &ignored); /* nor can --resume read it, if so */
    RT_TRY(rt_index_dir_keep(dir, lock, v->job->options->keep_generations, &n_removed, err));
    rt_job_row(v->job, "removed",
               "%s files that none of the last %" PRIu64 " generations names%s%s%s",
               rt_units_count(n_removed, count), v->job->options->keep_generations,
               interrupted ? ", with them what an interrupted " : "",
               interrupted ? interrupted : "", interrupted ? " could go on from" : "");
    rt_job_set(v->job, "removed", json_integer((json_int_t)n_removed));
done:
    rt_lock_release(lock);
    return st;
}

/* No errors, but in the way. Files of a job that is at work, or that --resume goes on with, are
 * none; nor is it an error of the index if a writer comes in between. */
static void tell_orphans(const struct verifier *v)
{
    const struct rt_options *options = v->job->options;
    const char *dir = options->argument[0];
    const char *interrupted = NULL;
    struct rt_error ignored;
    uint64_t n = 0;
    char count[RT_UNITS_TEXT];
    if (rt_lock_require_free(dir, &ignored) != RT_OK ||
        find_interrupted(v, &interrupted, &ignored) != RT_OK || interrupted ||
        rt_index_dir_orphans(dir, options->keep_generations, &n, &ignored) != RT_OK)
        n = 0;
    if (interrupted)
        rt_job_row(v->job, "interrupted",
                   "%s %s, which --resume goes on with; --clean removes what it has left",
                   interrupted[0] == 'i' ? "an" : "a", interrupted);
    if (n)
        rt_job_row(v->job, "orphans",
                   "%s files that none of the last %" PRIu64
                   " generations names; --clean removes them",
                   rt_units_count(n, count), options->keep_generations);
    rt_job_set(v->job, "orphans", json_integer((json_int_t)n));
}

/* What ended the job before it could look further is an error of the index as well. */
static void set_only_error(const struct rt_job *job, const struct rt_error *err)
{
    json_t *errors = json_array();
    if (!job->json || json_object_get(job->json, "errors") || !errors) {
        json_decref(errors);
        return;
    }
    (void)json_array_append_new(errors, rt_job_text_json(err->text));
    rt_job_set(job, "errors", errors);
    rt_job_set(job, "n_errors", json_integer(1));
}

enum rt_status rt_verify_run(struct rt_job *job, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct verifier v = {.job = job};
    RT_TRY(rt_index_view_open(job, job->options->argument[0], RT_CHECK_ALL, &v.view, err));
    RT_LOCAL(prepare(&v, err));
    RT_AGREE(job->comm);
    RT_TRY(check(&v, err));
    rt_job_set(job, "interrupted", json_null()); /* as far as is known */
    if (job->options->clean && job->rank == 0)
        RT_LOCAL(clean(&v, err));
    else if (job->rank == 0)
        tell_orphans(&v);
    RT_AGREE(job->comm);
done:
    if (st != RT_OK)
        set_only_error(job, err);
    rt_heap_vectors_close(v.heap);
    rt_recoder_free(v.recoder);
    rt_index_close(v.view);
    rt_array_free(v.told);
    rt_array_free(v.native);
    rt_array_free(v.code);
    return st;
}
