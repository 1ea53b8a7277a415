#include "jobs/phases/tombstone_phase.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/index_dir.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a pair of the sort tells of its id: the kind in the top bits of the value, a generation
 * below. */
#define KIND_SHIFT 62
#define LOOKED_UP 256u                         /* ids, between two looks at the other ranks */
enum kind { KIND_OLD, KIND_NAMED, KIND_LIVE }; /* a tombstone; in the ids given; a live row */

struct burying {
    struct rt_phase_context *context;
    const struct rt_tombstone_input *input;
    struct rt_tombstone_output *out;
    /* the source: ids given, then entries of absorbed files, then (keeps) live slots */
    enum kind kind;
    size_t file;
    uint64_t at;
    /* the sink */
    bool writes; /* second time: the number of entries is known, and the file there */
    uint64_t n_written;
    struct rt_h5_file *file_out;
    struct rt_tombstone *entries; /* of one run */
    struct rt_pair *dead;         /* (list, id) of one run */
    size_t room;
    size_t n_dead, sent;
    uint8_t *code;
};

/* ---- what is sorted ---- */

static const struct rt_tombstones_view *absorbed_file(const struct burying *b, size_t i)
{
    const struct rt_index_view *view = b->input->view;
    for (size_t f = 0; f < view->n_tombstones; f++)
        if (view->tombstones[f].shape.generation == b->out->absorbed[i])
            return &view->tombstones[f];
    return NULL;
}

uint64_t rt_tombstones_absorbed(const struct rt_index_view *view, uint64_t n_ids, uint64_t *numbers,
                                size_t *n)
{
    uint64_t held = n_ids;
    *n = 0;
    for (size_t f = view->n_tombstones; f-- > 0;) {
        if (view->tombstones[f].shape.n / 2 > held)
            continue;
        numbers[(*n)++] = view->tombstones[f].shape.generation;
        held += view->tombstones[f].shape.n;
    }
    return held - n_ids;
}

uint64_t rt_tombstone_phase_bytes(uint64_t n_pairs, uint64_t n_dead, uint64_t budget_bytes,
                                  int n_ranks)
{
    uint64_t run = rt_pair_sort_run(budget_bytes, n_pairs, n_ranks);
    uint64_t dead_run = n_dead < run ? n_dead : run;
    return rt_pair_sort_bytes(budget_bytes, n_pairs, n_ranks) +
           run * (sizeof(struct rt_tombstone) + sizeof(struct rt_pair)) +
           rt_pair_sort_bytes(budget_bytes, dead_run * (uint64_t)n_ranks, n_ranks);
}

static uint64_t value_of(enum kind kind, uint64_t generation)
{
    return (uint64_t)kind << KIND_SHIFT | generation;
}

static enum rt_status next_old(struct burying *b, struct rt_pair *pairs, size_t most, size_t *n,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = b->context->job;
    while (*n == 0 && b->file < b->out->n_absorbed) {
        const struct rt_tombstones_view *file = absorbed_file(b, b->file);
        struct rt_range mine = rt_share(file->shape.n, job->rank, job->n_ranks, 1);
        uint64_t begin = mine.begin + b->at;
        uint64_t end = mine.end - begin < most ? mine.end : begin + most;
        RT_TRY(rt_h5_map_check_rows(file->map, RT_TOMBSTONES_ENTRIES, begin, end - begin, err));
        for (uint64_t i = begin; i < end; i++, b->at++) {
            struct rt_tombstone entry = file->entries[i];
            pairs[(*n)++] = (struct rt_pair){entry.id, value_of(KIND_OLD, entry.generation)};
        }
        if (b->at == rt_range_count(mine)) {
            b->at = 0;
            b->file++;
        }
    }
done:
    return st;
}

static enum rt_status next_live(struct burying *b, struct rt_pair *pairs, size_t most, size_t *n,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = b->context->job;
    const struct rt_index_view *view = b->input->view;
    while (*n == 0 && b->file < view->n_vectors) {
        const struct rt_vectors_view *file = &view->vectors[b->file];
        struct rt_range mine = rt_share(file->shape.n_slots, job->rank, job->n_ranks, 1);
        uint64_t begin = mine.begin + b->at;
        uint64_t end = mine.end - begin < most ? mine.end : begin + most;
        RT_TRY(
            rt_h5_map_check_rows(file->map, (uint32_t)file->datasets.ids, begin, end - begin, err));
        RT_TRY(rt_phase_check(b->context, err)); /* where all are dead no piece comes out of it */
        for (uint64_t i = begin; i < end; i++, b->at++) {
            uint64_t id = file->ids[i];
            bool is_live = false;
            if (id == RT_NO_ID)
                continue;
            RT_TRY(rt_index_judge(view, id, file->shape.generation, &is_live, err));
            if (is_live)
                pairs[(*n)++] = (struct rt_pair){id, value_of(KIND_LIVE, 0)};
        }
        if (b->at == rt_range_count(mine)) {
            b->at = 0;
            b->file++;
        }
    }
done:
    return st;
}

static enum rt_status next_pairs(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                                 size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct burying *b = context;
    *n = 0;
    if (rewind)
        b->kind = KIND_NAMED;
    if (b->kind == KIND_NAMED) {
        RT_TRY(b->input->ids(b->input->ids_context, rewind, pairs, most, n, err));
        for (size_t i = 0; i < *n; i++)
            pairs[i].value = value_of(KIND_NAMED, 0);
        if (*n == 0) {
            b->kind = KIND_OLD;
            b->file = 0;
            b->at = 0;
        }
    }
    if (b->kind == KIND_OLD) {
        RT_TRY(next_old(b, pairs, most, n, err));
        if (*n == 0) {
            b->kind = KIND_LIVE;
            b->file = 0;
            b->at = 0;
        }
    }
    if (b->kind == KIND_LIVE && b->input->keeps)
        RT_TRY(next_live(b, pairs, most, n, err));
done:
    return st;
}

/* ---- hashes of the dead ---- */

static enum rt_status next_dead(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                                size_t *n, struct rt_error *err)
{
    (void)err;
    struct burying *b = context;
    if (rewind)
        b->sent = 0;
    *n = b->n_dead - b->sent < most ? b->n_dead - b->sent : most;
    if (*n)
        memcpy(pairs, b->dead + b->sent, *n * sizeof *pairs);
    b->sent += *n;
    return RT_OK;
}

static bool is_among(const struct rt_pair *pairs, size_t n, uint64_t list, uint64_t id)
{
    struct rt_pair wanted = {list, id};
    return n && bsearch(&wanted, pairs, n, sizeof *pairs, rt_pair_compare);
}

/* The n dead rows of one list, ids ascending. */
struct dead_rows {
    uint32_t list;
    const struct rt_pair *pairs;
    size_t n, n_met;
};

static void hash_row(struct burying *b, struct dead_rows *dead, uint64_t id, uint64_t generation,
                     const uint8_t *code, const float *factors)
{
    const struct rt_index_view *view = b->input->view;
    if (!rt_index_is_live(view, id, generation))
        return;
    b->out->rows_hash =
        rt_hash128_add(b->out->rows_hash, rt_record_hash(dead->list, id, code, view->code_bytes,
                                                         factors, view->n_factors));
    dead->n_met++;
}

static enum rt_status hash_frozen(struct burying *b, struct dead_rows *dead, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = b->input->view;
    uint32_t dim = view->manifest->dim;
    uint64_t generation = rt_index_list_generation(view, dead->list);
    struct rt_list_blocks blocks;
    float factors[RT_MAX_FACTORS];
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(view, dead->list, &blocks, &n_rows, err));
    for (uint64_t i = 0; i < n_rows; i++) {
        uint64_t block = i / RT_BLOCK_ROWS;
        uint32_t row = (uint32_t)(i % RT_BLOCK_ROWS);
        if (!is_among(dead->pairs, dead->n, dead->list, blocks.ids[i]))
            continue;
        RT_TRY(rt_index_check_blocks(view, dead->list, block, 1, err));
        rt_block_get(blocks.codes + block * rt_block_code_bytes(dim), dim, row, b->code);
        for (uint32_t f = 0; f < view->n_factors; f++)
            factors[f] = blocks.factors[(block * view->n_factors + f) * RT_BLOCK_ROWS + row];
        hash_row(b, dead, blocks.ids[i], generation, b->code, factors);
    }
done:
    return st;
}

static enum rt_status hash_records(struct burying *b, struct dead_rows *dead,
                                   const struct rt_tape_view *tape, uint64_t chunk,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = b->input->view;
    const struct rt_tape_records *r = &tape->records;
    uint64_t begin = 0;
    uint64_t end = 0;
    rt_index_records(view, tape, chunk, dead->list, &begin, &end);
    for (uint64_t i = begin; i < end; i++) {
        if (!is_among(dead->pairs, dead->n, dead->list, r->ids[i]))
            continue;
        RT_TRY(rt_index_check_records(tape, i, i + 1, err));
        hash_row(b, dead, r->ids[i], tape->shape.generation, r->codes + i * view->code_bytes,
                 r->factors + i * view->n_factors);
    }
done:
    return st;
}

/* Each of them is met once among the list's live rows. */
static enum rt_status hash_list(struct burying *b, struct dead_rows *dead, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = b->input->view;
    RT_TRY(hash_frozen(b, dead, err));
    for (size_t t = 0; t < view->n_appendable; t++)
        for (uint64_t chunk = 0; chunk < view->appendable[t].shape.n_chunks; chunk++)
            RT_TRY(hash_records(b, dead, &view->appendable[t], chunk, err));
    if (dead->n_met != dead->n)
        RT_FAIL(RT_DAMAGED,
                "'%s' is damaged: list %" PRIu32 " holds %zu of %zu rows that vectors files put "
                "there",
                view->dir, dead->list, dead->n_met, dead->n);
done:
    return st;
}

static enum rt_status hash_dead(void *context, uint64_t first, const struct rt_pair *pairs,
                                size_t n, struct rt_error *err)
{
    (void)first;
    enum rt_status st = RT_OK;
    struct burying *b = context;
    for (size_t at = 0, end = 0; at < n; at = end) {
        while (end < n && pairs[end].key == pairs[at].key)
            end++;
        struct dead_rows dead = {(uint32_t)pairs[at].key, pairs + at, end - at, 0};
        RT_TRY(hash_list(b, &dead, err));
        RT_TRY(rt_phase_check(b->context, err));
    }
done:
    return st;
}

/* ---- what comes of an id ---- */

static enum rt_status make_room(struct burying *b, size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n <= b->room)
        return RT_OK;
    rt_array_free(b->entries); /* nothing of the run before is kept */
    rt_array_free(b->dead);
    b->entries = NULL;
    b->dead = NULL;
    RT_TRY(rt_array_new(n, sizeof *b->entries, &b->entries, err));
    RT_TRY(rt_array_new(n, sizeof *b->dead, &b->dead, err));
    b->room = n;
done:
    return st;
}

/* All pairs of one id. */
static enum rt_status bury(struct burying *b, const struct rt_pair *pairs, size_t n,
                           size_t *n_entries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t id = pairs[0].key;
    bool is_named = false;
    bool is_there = false;
    struct rt_found_row row;
    struct rt_tombstone entry = {.id = id};
    for (size_t i = 0; i < n; i++) {
        uint64_t kind = pairs[i].value >> KIND_SHIFT;
        uint64_t generation = pairs[i].value & ((UINT64_C(1) << KIND_SHIFT) - 1);
        is_named = is_named || kind == KIND_NAMED;
        if (kind == KIND_OLD && generation > entry.generation)
            entry.generation = generation;
    }
    RT_TRY(rt_index_find(b->input->view, id, &row, &is_there, err));
    b->out->n_unknown += is_named && !is_there;
    if (is_there && is_named != b->input->keeps) {
        entry.generation = b->context->generation;
        b->dead[b->n_dead++] = (struct rt_pair){row.list, id};
        b->out->n_dead++;
    }
    if (entry.generation)
        b->entries[(*n_entries)++] = entry;
done:
    return st;
}

static enum rt_status bury_run(struct burying *b, const struct rt_pair *pairs, size_t n,
                               size_t *n_entries, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(make_room(b, n, err));
    for (size_t at = 0, end = 0, n_ids = 0; at < n; at = end, n_ids++) {
        while (end < n && pairs[end].key == pairs[at].key)
            end++;
        if (n_ids % LOOKED_UP == 0)
            RT_TRY(rt_phase_check(b->context, err));
        RT_TRY(bury(b, pairs + at, end - at, n_entries, err));
    }
done:
    return st;
}

/* Collective: the runs of a pass lie one behind the other in the file. */
static enum rt_status take_run(void *context, uint64_t first, const struct rt_pair *pairs, size_t n,
                               struct rt_error *err)
{
    (void)first;
    enum rt_status st = RT_OK;
    struct burying *b = context;
    MPI_Comm comm = b->context->job->comm;
    size_t n_entries = 0;
    b->n_dead = 0;
    RT_LOCAL(bury_run(b, pairs, n, &n_entries, err));
    RT_AGREE(comm);
    uint64_t mine = n_entries;
    uint64_t before = 0;
    rt_exscan_u64(comm, &mine, &before, 1);
    rt_sum_u64(comm, &mine, 1);
    if (b->writes) {
        if (n_entries)
            RT_LOCAL(rt_h5_write(b->file_out, RT_TOMBSTONES_ENTRIES, b->n_written + before,
                                 n_entries, b->entries, err));
        RT_AGREE(comm);
        struct rt_pair_sort sort = {
            .source = next_dead, .sink = hash_dead, .context = b, .n_mine = b->n_dead};
        RT_TRY(rt_pair_sort(b->context, &sort, err));
    }
    b->n_written += mine;
done:
    return st;
}

static enum rt_status go_through(struct burying *b, struct rt_error *err)
{
    struct rt_pair_sort sort = {.source = next_pairs,
                                .sink = take_run,
                                .context = b,
                                .n_mine = b->input->n_ids,
                                .most_per_key = (uint32_t)b->out->n_absorbed + 2};
    const struct rt_job *job = b->context->job;
    for (size_t i = 0; i < b->out->n_absorbed; i++)
        sort.n_mine +=
            rt_range_count(rt_share(absorbed_file(b, i)->shape.n, job->rank, job->n_ranks, 1));
    for (size_t i = 0; b->input->keeps && i < b->input->view->n_vectors; i++)
        sort.n_mine += rt_range_count(
            rt_share(b->input->view->vectors[i].shape.n_slots, job->rank, job->n_ranks, 1));
    b->n_written = 0;
    b->out->n_dead = b->out->n_unknown = 0;
    return rt_pair_sort(b->context, &sort, err);
}

static enum rt_status make_file(struct burying *b, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_phase_context *context = b->context;
    char path[RT_PATH_MAX];
    struct rt_tombstones_shape shape = {.generation = context->generation,
                                        .fingerprint = b->input->view->manifest->fingerprint,
                                        .n = b->out->n_entries};
    RT_LOCAL(rt_tombstones_layout(&shape, &b->out->layout, err));
    RT_LOCAL(rt_index_path(context->dir, RT_FILE_TOMBSTONES, context->generation, true, path, err));
    RT_AGREE(context->job->comm);
    RT_TRY(rt_phase_create_file(context, path, &b->out->layout, &b->file_out, err));
done:
    return st;
}

enum rt_status rt_tombstone_phase(struct rt_phase_context *context,
                                  const struct rt_tombstone_input *input,
                                  struct rt_tombstone_output *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_phase_clock clock;
    uint64_t n_ids = input->n_ids;
    memset(out, 0, sizeof *out);
    struct burying b = {.context = context, .input = input, .out = out};
    rt_sum_u64(comm, &n_ids, 1);
    rt_phase_begin(context, "delete", "ids", n_ids, &clock);
    RT_LOCAL(rt_array_new(input->view->n_tombstones, sizeof *out->absorbed, &out->absorbed, err));
    RT_LOCAL(rt_array_new(input->view->code_bytes, 1, &b.code, err));
    RT_AGREE(comm);
    (void)rt_tombstones_absorbed(input->view, n_ids, out->absorbed, &out->n_absorbed);
    RT_TRY(go_through(&b, err)); /* how many entries there will be */
    uint64_t n_dead = out->n_dead;
    rt_sum_u64(comm, &n_dead, 1);
    if (n_dead) {
        out->n_entries = b.n_written;
        RT_TRY(make_file(&b, err));
        b.writes = true;
        RT_TRY(go_through(&b, err));
        RT_TRY(rt_phase_hash_datasets(context, b.file_out, RT_TOMBSTONES_ENTRIES, 1, st, err));
        out->rows_hash = rt_sum_hash128(comm, out->rows_hash);
    }
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
    rt_sum_u64(comm, &out->n_dead, 1);
    rt_sum_u64(comm, &out->n_unknown, 1);
done:
    st = rt_phase_close_file(context, b.file_out, st, err);
    rt_array_free(b.entries);
    rt_array_free(b.dead);
    rt_array_free(b.code);
    return st;
}
