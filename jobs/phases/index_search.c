#include "jobs/phases/index_search.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/rotation.h"
#include "jobs/phases/merge_hits.h"
#include "jobs/phases/tree_sets.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

/* Records of one list in one appendable file, packed as frozen blocks are: they are scanned with
 * the same tables (I2). Grows to the largest such list. */
struct appended_blocks {
    uint64_t room; /* blocks */
    uint8_t *codes;
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
};

/* One thread of a rank: its scanner, and what the callbacks lend. */
struct worker {
    struct rt_index_search *search;
    struct rt_scanner *scanner;
    struct rt_scan_run *runs;         /* one of frozen blocks and one an appendable file */
    struct appended_blocks *appended; /* by appendable file */
    unsigned char *vectors;           /* RT_SCAN_FETCH, where they come from the heap */
    struct rt_scan_batch batch;
    struct rt_hit *hits;
    struct rt_scan_count *counts;
    const float *tau;
    int round; /* 0: whole, 1, 2 */
    enum rt_status st;
    struct rt_error err;
};

struct rt_index_search {
    const struct rt_job *job;
    const struct rt_index_view *view;
    struct rt_index_search_options options;
    const struct rt_tree *tree;
    struct rt_rotation *rotation;
    struct rt_tree_sets sets;
    struct rt_assigner *assigner;
    uint32_t n_probes;
    size_t assign_rows;
    float *rotated;
    uint32_t *lists;
    float *tau;
    struct rt_hit *hits; /* batch x k: this rank's */
    struct rt_scan_count *counts;
    struct worker *workers;
};

enum rt_status rt_index_probes(const struct rt_index_view *view, const uint64_t *given,
                               uint32_t n_given, uint32_t probes[RT_MAX_LEVELS],
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = &view->tree.tree;
    uint32_t n_levels = tree->n_levels;
    uint32_t n_leaves = rt_tree_leaves(tree)->n;
    rt_assert(n_leaves > 0); /* no level of an opened index is empty */
    if (n_given > 1 && n_given != n_levels)
        RT_FAIL(RT_USAGE,
                "--probes has %u numbers, the index %u levels: give one number for the leaves, or "
                "one a level",
                n_given, n_levels);
    uint32_t root = 1; /* ceil(sqrt(leaves)), in integers */
    while ((uint64_t)root * root < n_leaves)
        root++;
    uint64_t leaves = n_given ? given[n_given - 1] : root;
    leaves = leaves < n_leaves ? leaves : n_leaves;
    for (uint32_t l = 0; l < n_levels; l++) {
        uint64_t n = tree->levels[l].n;
        uint64_t keep = leaves;
        if (l + 1 <
            n_levels) { /* twice what one nearest leaf asks for: P of them lie further apart */
            uint64_t wide = (8 * leaves * n + n_leaves - 1) / n_leaves;
            uint64_t beam = UINT64_C(2) * view->manifest->beam;
            keep = n_given > 1 ? given[l] : wide > beam ? wide : beam;
        }
        probes[l] = (uint32_t)(keep < n ? keep : n);
    }
done:
    return st;
}

static uint64_t n_blocks(void *context, uint32_t list)
{
    const struct rt_index_view *view = ((const struct worker *)context)->search->view;
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    struct rt_error ignored; /* a damaged entry has no blocks here; read_list tells */
    if (rt_index_list(view, list, &blocks, &n_rows, &ignored) != RT_OK)
        return 1;
    uint64_t n = blocks.n_blocks;
    for (size_t i = 0; i < view->n_appendable; i++)
        n += rt_block_count(rt_index_n_records(view, &view->appendable[i], list));
    return n;
}

/* Blocks [begin, end) of a frozen list. */
static enum rt_status lend_frozen(struct worker *w, uint32_t list, uint64_t begin, uint64_t end,
                                  uint64_t *n_list_blocks, size_t *n_runs, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = w->search->view;
    struct rt_list_blocks blocks;
    struct rt_list_blocks part;
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(view, list, &blocks, &n_rows, err));
    *n_list_blocks = blocks.n_blocks;
    end = end < blocks.n_blocks ? end : blocks.n_blocks;
    if (begin >= end)
        goto done;
    rt_list_blocks_part(view, &blocks, begin, end - begin, &part);
    uint64_t rows_end = end * RT_BLOCK_ROWS < n_rows ? end * RT_BLOCK_ROWS : n_rows;
    w->runs[(*n_runs)++] = (struct rt_scan_run){.n_rows = rows_end - begin * RT_BLOCK_ROWS,
                                                .generation = rt_index_list_generation(view, list),
                                                .codes = part.codes,
                                                .factors = part.factors,
                                                .ids = part.ids,
                                                .places = part.places};
done:
    return st;
}

static enum rt_status make_room(struct appended_blocks *to, const struct rt_index_view *view,
                                uint64_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n <= to->room)
        return RT_OK;
    n = n > 2 * to->room ? n : 2 * to->room;
    RT_TRY(rt_array_resize(n, rt_block_code_bytes(view->manifest->dim), &to->codes, err));
    RT_TRY(rt_array_resize(n, view->n_factors * RT_BLOCK_ROWS * sizeof(float), &to->factors, err));
    RT_TRY(rt_array_resize(n, RT_BLOCK_ROWS * sizeof *to->ids, &to->ids, err));
    RT_TRY(rt_array_resize(n, RT_BLOCK_ROWS * sizeof *to->places, &to->places, err));
    to->room = n;
done:
    return st;
}

static void put_record(struct appended_blocks *to, const struct rt_index_view *view,
                       const struct rt_tape_records *records, uint64_t record, uint64_t at)
{
    uint32_t dim = view->manifest->dim;
    uint64_t block = at / RT_BLOCK_ROWS;
    uint32_t row = (uint32_t)(at % RT_BLOCK_ROWS);
    rt_block_put(to->codes + block * rt_block_code_bytes(dim), dim, row,
                 records->codes + record * view->code_bytes);
    for (uint32_t f = 0; f < view->n_factors; f++)
        to->factors[(block * view->n_factors + f) * RT_BLOCK_ROWS + row] =
            records->factors[record * view->n_factors + f];
    to->ids[at] = records->ids[record];
    to->places[at] = records->places[record];
}

/* Records [begin, end) of the list's in an appendable file, whole blocks of them. */
static enum rt_status lend_appended(struct worker *w, size_t file, uint32_t list, uint64_t begin,
                                    uint64_t end, size_t *n_runs, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = w->search->view;
    const struct rt_tape_view *tape = &view->appendable[file];
    struct appended_blocks *to = &w->appended[file];
    uint64_t n = rt_block_count(end - begin);
    uint64_t at = 0;
    RT_TRY(make_room(to, view, n, err));
    memset(to->codes, 0, n * rt_block_code_bytes(view->manifest->dim));
    for (uint64_t chunk = 0; chunk < tape->shape.n_chunks && at < end; chunk++) {
        uint64_t record = 0;
        uint64_t record_end = 0;
        rt_index_records(view, tape, chunk, list, &record, &record_end);
        for (; record < record_end && at < end; record++, at++)
            if (at >= begin)
                put_record(to, view, &tape->records, record, at - begin);
    }
    w->runs[(*n_runs)++] = (struct rt_scan_run){.n_rows = at - begin,
                                                .generation = tape->shape.generation,
                                                .codes = to->codes,
                                                .factors = to->factors,
                                                .ids = to->ids,
                                                .places = to->places};
done:
    return st;
}

/* The list's blocks: frozen ones first, then those of each appendable file. */
static enum rt_status read_list(void *context, uint32_t list, uint64_t begin, uint64_t end,
                                const struct rt_scan_run **runs, size_t *n_runs,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct worker *w = context;
    const struct rt_index_view *view = w->search->view;
    uint64_t first = 0; /* number of the file's first block in the list */
    uint64_t n = 0;
    *n_runs = 0;
    *runs = w->runs;
    RT_TRY(lend_frozen(w, list, begin, end, &n, n_runs, err));
    for (size_t i = 0; i < view->n_appendable && first + n < end; i++) {
        first += n;
        uint64_t n_records = rt_index_n_records(view, &view->appendable[i], list);
        n = rt_block_count(n_records);
        uint64_t from = begin > first ? (begin - first) * RT_BLOCK_ROWS : 0;
        uint64_t to = (end - first) * RT_BLOCK_ROWS;
        to = to < n_records ? to : n_records;
        if (from < to)
            RT_TRY(lend_appended(w, i, list, from, to, n_runs, err));
    }
done:
    return st;
}

static enum rt_status read_vectors(void *context, const struct rt_place *places, size_t n,
                                   const void **vectors, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct worker *w = context;
    const struct rt_index_view *view = w->search->view;
    size_t row_bytes = view->manifest->dim * rt_element_size(view->manifest->element);
    for (size_t i = 0; i < n; i++) {
        struct rt_place_view place;
        RT_TRY(rt_index_place(view, places[i].segment, places[i].slot, &place, err));
        vectors[i] = place.vector;
        if (!place.vector) {
            unsigned char *vector = w->vectors + i * row_bytes;
            RT_TRY(rt_heap_vectors_read(w->search->options.heap, place.heap_row, vector, err));
            vectors[i] = vector;
        }
    }
done:
    return st;
}

static bool is_wanted(void *context, uint64_t id, uint64_t generation)
{
    const struct rt_index_search *search = ((const struct worker *)context)->search;
    const struct rt_id_filter *filter = search->options.filter;
    return (!filter || rt_id_filter_has(filter, id)) &&
           rt_index_is_live(search->view, id, generation);
}

static enum rt_status worker_new(struct rt_index_search *s, struct worker *w, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *manifest = s->view->manifest;
    w->search = s;
    struct rt_scan_source source = {
        .context = w,
        .tree = s->tree,
        .element = manifest->element,
        .n_blocks = n_blocks,
        .read_list = read_list,
        .read_vectors = read_vectors,
        .is_live = s->options.filter || s->view->n_tombstones ? is_wanted : NULL};
    struct rt_scan_options scan = {.k = s->options.k,
                                   .epsilon = s->options.epsilon,
                                   .exact = s->options.exact,
                                   .max_queries =
                                       (s->options.batch + s->options.threads - 1) /
                                       s->options.threads, /* a worker's part of a batch */
                                   .max_probes = s->n_probes};
    RT_TRY(rt_array_new(1 + s->view->n_appendable, sizeof *w->runs, &w->runs, err));
    RT_TRY(rt_array_zero(s->view->n_appendable, sizeof *w->appended, &w->appended, err));
    RT_TRY(rt_scanner_new(&source, &scan, &w->scanner, err));
    if (s->options.heap)
        RT_TRY(rt_array_new(RT_SCAN_FETCH, manifest->dim * rt_element_size(manifest->element),
                            &w->vectors, err));
done:
    return st;
}

static enum rt_status allocate(struct rt_index_search *s, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t batch = s->options.batch;
    uint32_t most = 1;
    for (uint32_t l = 0; l < s->tree->n_levels; l++)
        most = s->options.probes[l] > most ? s->options.probes[l] : most;
    s->assign_rows = batch < 1024 ? batch : 1024;
    RT_TRY(rt_rotation_new(s->tree->rotation_seed, s->tree->dim, &s->rotation, err));
    RT_TRY(rt_assigner_new(s->assign_rows, s->tree->dim, most, RT_PROPOSE_AUTO, &s->assigner, err));
    RT_TRY(rt_array_new(batch, s->tree->dim * sizeof(float), &s->rotated, err));
    RT_TRY(rt_array_new(batch, s->n_probes * sizeof(uint32_t), &s->lists, err));
    RT_TRY(rt_array_new(batch, sizeof *s->tau, &s->tau, err));
    RT_TRY(rt_array_new(batch, s->options.k * sizeof *s->hits, &s->hits, err));
    RT_TRY(rt_array_new(batch, sizeof *s->counts, &s->counts, err));
    RT_TRY(rt_array_zero(s->options.threads, sizeof *s->workers, &s->workers, err));
    for (uint32_t t = 0; t < s->options.threads; t++)
        RT_TRY(worker_new(s, &s->workers[t], err));
done:
    return st;
}

enum rt_status rt_index_search_new(const struct rt_job *job, const struct rt_index_view *view,
                                   const struct rt_index_search_options *options,
                                   struct rt_index_search **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_search *s = NULL;
    RT_LOCAL(rt_array_zero(1, sizeof *s, &s, err));
    RT_AGREE(job->comm);
    s->job = job;
    s->view = view;
    s->options = *options;
    s->tree = &view->tree.tree;
    s->n_probes = options->probes[s->tree->n_levels - 1];
    /* A query ranks lists by its own metric, whatever rows were assigned by (B1). */
    RT_TRY(rt_tree_sets_new(job, s->tree, s->tree->metric == RT_IP ? RT_IP : RT_L2, options->pin,
                            &s->sets, err));
    RT_LOCAL(allocate(s, err));
    RT_AGREE(job->comm);
    *out = s;
    s = NULL;
done:
    rt_index_search_free(s);
    return st;
}

static void worker_free(struct worker *w)
{
    for (size_t i = 0; w->appended && i < w->search->view->n_appendable; i++) {
        rt_array_free(w->appended[i].codes);
        rt_array_free(w->appended[i].factors);
        rt_array_free(w->appended[i].ids);
        rt_array_free(w->appended[i].places);
    }
    rt_array_free(w->appended);
    rt_array_free(w->runs);
    rt_scanner_free(w->scanner);
    rt_array_free(w->vectors);
}

void rt_index_search_free(struct rt_index_search *s)
{
    if (!s)
        return;
    for (uint32_t t = 0; s->workers && t < s->options.threads; t++)
        worker_free(&s->workers[t]);
    rt_array_free(s->workers);
    rt_tree_sets_free(&s->sets);
    rt_assigner_free(s->assigner);
    rt_rotation_free(s->rotation);
    rt_array_free(s->rotated);
    rt_array_free(s->lists);
    rt_array_free(s->tau);
    rt_array_free(s->hits);
    rt_array_free(s->counts);
    rt_array_free(s);
}

/* Every rank chooses the lists of its share of the queries; then all know all. */
static enum rt_status choose_lists(struct rt_index_search *s, const float *queries,
                                   size_t n_queries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = s->tree;
    int n_ranks = s->job->n_ranks;
    struct rt_range mine = rt_share(n_queries, s->job->rank, n_ranks, 1);
    uint64_t *counts = NULL;
    RT_LOCAL(rt_array_new((size_t)n_ranks, sizeof *counts, &counts, err));
    RT_AGREE(s->job->comm);
    memcpy(s->rotated, queries, n_queries * tree->dim * sizeof *queries);
    rt_rotation_apply(s->rotation, s->rotated, n_queries);
    for (size_t q = mine.begin; q < mine.end;) {
        size_t n = mine.end - q < s->assign_rows ? (size_t)(mine.end - q) : s->assign_rows;
        rt_assign_tree_best(s->assigner, tree, s->sets.sets, s->options.probes,
                            s->rotated + q * tree->dim, n, s->n_probes, s->lists + q * s->n_probes,
                            NULL);
        q += n;
    }
    if (n_ranks > 1) {
        for (int r = 0; r < n_ranks; r++)
            counts[r] =
                rt_range_count(rt_share(n_queries, r, n_ranks, 1)) * s->n_probes * sizeof(uint32_t);
        rt_allgatherv_bytes(s->job->comm, s->lists + mine.begin * s->n_probes, s->lists, counts);
    }
done:
    rt_array_free(counts);
    return st;
}

static void *work(void *context)
{
    struct worker *w = context;
    if (w->batch.n_queries == 0)
        w->st = RT_OK;
    else if (w->round == 0)
        w->st = rt_scan(w->scanner, &w->batch, w->hits, w->counts, &w->err);
    else if (w->round == 1)
        w->st = rt_scan_round1(w->scanner, &w->batch, w->hits, &w->err);
    else
        w->st = rt_scan_round2(w->scanner, w->tau, w->hits, w->counts, &w->err);
    return NULL;
}

/* The workers share the queries of a batch; the calling thread is the first of them. */
static enum rt_status run_workers(struct rt_index_search *s, const float *queries, size_t n_queries,
                                  int round, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_workers = s->options.threads;
    pthread_t *threads = NULL;
    uint32_t n_started = 1;
    RT_TRY(rt_array_new(n_workers, sizeof *threads, &threads, err));
    for (uint32_t t = 0; t < n_workers; t++) {
        struct worker *w = &s->workers[t];
        struct rt_range part = rt_share(n_queries, (int)t, (int)n_workers, 1);
        w->batch = (struct rt_scan_batch){.n_queries = (size_t)rt_range_count(part),
                                          .n_probes = s->n_probes,
                                          .queries = queries + part.begin * s->tree->dim,
                                          .rotated = s->rotated + part.begin * s->tree->dim,
                                          .lists = s->lists + part.begin * s->n_probes,
                                          .part = (uint32_t)s->job->rank,
                                          .n_parts = (uint32_t)s->job->n_ranks};
        w->hits = s->hits + part.begin * s->options.k;
        w->counts = s->counts + part.begin;
        w->tau = s->tau + part.begin;
        w->round = round;
        w->st = RT_OK;
    }
    while (n_started < n_workers &&
           pthread_create(&threads[n_started], NULL, work, &s->workers[n_started]) == 0)
        n_started++;
    (void)work(&s->workers[0]);
    for (uint32_t t = n_started; t < n_workers; t++) /* no more threads to be had: do it here */
        (void)work(&s->workers[t]);
    for (uint32_t t = 1; t < n_started; t++)
        (void)pthread_join(threads[t], NULL);
    for (uint32_t t = 0; t < n_workers && st == RT_OK; t++)
        if (s->workers[t].st != RT_OK) {
            st = s->workers[t].st;
            *err = s->workers[t].err;
        }
done:
    rt_array_free(threads);
    return st;
}

static enum rt_status scan_in_rounds(struct rt_index_search *s, const float *queries,
                                     size_t n_queries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = s->job->comm;
    uint32_t k = s->options.k;
    RT_LOCAL(run_workers(s, queries, n_queries, 1, err));
    RT_AGREE(comm);
    RT_TRY(rt_merge_hits(comm, s->hits, n_queries, k, err));
    for (size_t q = 0; q < n_queries; q++)
        s->tau[q] = s->hits[(q + 1) * k - 1].key;
    rt_bcast_bytes(comm, s->tau, n_queries * sizeof *s->tau, 0);
    RT_LOCAL(run_workers(s, queries, n_queries, 2, err));
    RT_AGREE(comm);
    RT_TRY(rt_merge_hits(comm, s->hits, n_queries, k, err));
done:
    return st;
}

enum rt_status rt_index_search_run(struct rt_index_search *s, const float *queries,
                                   size_t n_queries, struct rt_hit *hits,
                                   struct rt_scan_count *counts, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = s->job->comm;
    uint32_t k = s->options.k;
    RT_TRY(choose_lists(s, queries, n_queries, err));
    if (s->job->n_ranks > 1)
        RT_TRY(scan_in_rounds(s, queries, n_queries, err));
    else
        RT_TRY(run_workers(s, queries, n_queries, 0, err));
    if (counts) {
        if (s->job->n_ranks > 1)
            rt_sum_u64(comm, (uint64_t *)s->counts,
                       n_queries * (sizeof *s->counts / sizeof(uint64_t)));
        memcpy(counts, s->counts, n_queries * sizeof *counts);
    }
    if (s->job->rank == 0)
        for (size_t q = 0; q < n_queries; q++) {
            memcpy(hits + q * k, s->hits + q * k, k * sizeof *hits);
            rt_topk_show(hits + q * k, k);
        }
done:
    return st;
}

double rt_index_recall(const struct rt_hit *hits, size_t n_queries, uint32_t k,
                       const uint64_t *truth, uint32_t truth_k)
{
    uint64_t found = 0;
    for (size_t q = 0; q < n_queries; q++)
        for (uint32_t i = 0; i < k; i++) {
            uint64_t id = hits[q * k + i].id;
            for (uint32_t j = 0; j < k && id != RT_NO_ID; j++)
                if (truth[q * truth_k + j] == id) {
                    found++;
                    break;
                }
        }
    return n_queries ? (double)found / ((double)n_queries * k) : 0;
}
