#include "jobs/phases/compact_phase.h"

#include "core/block.h"
#include "core/code.h"
#include "core/fault.h"
#include "core/memory.h"
#include "io/index_dir.h"
#include "jobs/phases/block_places.h"
#include "jobs/phases/block_window.h"
#include "jobs/phases/durable.h"
#include "jobs/phases/record_finder.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"
#include "mpi/world.h"

#include <string.h>

/* A window keeps the disk busy while the next is gathered, and fits the caches; but a round costs a
 * message from and to every rank and a look into every chunk (F4, F5). */
#define LEAST_WINDOW_BYTES (UINT64_C(1) << 20)
#define USUAL_WINDOW_BYTES (UINT64_C(8) << 20)
#define USUAL_PEER_BYTES (UINT64_C(64) << 10) /* of a window from one rank */
#define MOST_ROUNDS UINT64_C(64)              /* where the budget allows */
#define MOST_WINDOW_BYTES (UINT64_C(1) << 30)
#define WRITE_BUFFER_BYTES ((size_t)2 << 20)
#define NEAR_LISTS (UINT32_C(1) << 16)   /* told in one piece, at most */
#define TAKE_RECORDS (UINT64_C(1) << 16) /* between two looks for a stop */

/* What a rank tells one on its host, instead of sending records: where they lie. Behind it: rows of
 * each of these lists on ranks before it. */
struct near_head {
    struct rt_range chunks, lists;
};

struct compactor {
    struct rt_phase_context *context;
    const struct rt_compact_input *input;
    uint32_t dim, n_factors, n_lists;
    size_t wire_bytes; /* of a record on its way, and on the tape */
    size_t tape_bytes;
    int rank, n_ranks;
    struct rt_range own;    /* chunks */
    uint64_t *first_blocks; /* n_lists + 1: where lists begin (prefix sums) */
    uint64_t *rows;         /* n_lists: of all ranks */
    uint64_t *before;       /* n_lists: rows of the list on ranks before this one */
    struct rt_block_places places;
    uint64_t window_blocks;
    uint64_t round, n_rounds;
    struct rt_tape_view tape;
    unsigned char *is_near; /* n_ranks: has this host's memory, and so the pages of our tape */
    struct rt_record_finder *near, *far; /* of records for this rank's window, and for others' */
    int to;                              /* the receiver that is aimed at; -1: none yet */
    struct rt_range lists;               /* of its window, if it is near: still to be told */
    struct rt_range window; /* places of the blocks that this rank receives in this round */
    struct rt_block_window *records;
    struct rt_hash128 rows_hash; /* of the windows that are written and not handed in yet */
    struct rt_durable *durable;
    uint64_t n_written, n_kept; /* places of the share before which all is written, handed in */
    struct rt_h5_file *file;
    struct rt_unit_writer *writer; /* of the run of blocks at hand; NULL between runs */
    uint64_t run_end;
};

static size_t block_bytes(uint32_t dim, uint32_t n_factors)
{
    return rt_block_code_bytes(dim) +
           RT_BLOCK_ROWS * (n_factors * sizeof(float) + sizeof(uint64_t) + sizeof(struct rt_place));
}

uint64_t rt_compact_window_bytes(uint64_t budget_bytes, uint64_t share_bytes, int n_ranks)
{
    uint64_t window = USUAL_WINDOW_BYTES;
    uint64_t peers = (uint64_t)n_ranks * USUAL_PEER_BYTES;
    uint64_t part = share_bytes / MOST_ROUNDS;
    window = window > peers ? window : peers;
    window = window > part ? window : part;
    window = window < MOST_WINDOW_BYTES ? window : MOST_WINDOW_BYTES;
    window = budget_bytes && window > budget_bytes / 4 ? budget_bytes / 4 : window;
    window = window > share_bytes ? share_bytes : window;
    return window < LEAST_WINDOW_BYTES ? LEAST_WINDOW_BYTES : window;
}

uint64_t rt_compact_phase_bytes(uint32_t dim, enum rt_metric metric, uint32_t n_lists,
                                uint64_t window_bytes, uint64_t n_blocks, int n_ranks)
{
    uint64_t block = block_bytes(dim, rt_code_n_factors(metric));
    struct rt_list_shape shape = {
        .n_blocks = n_blocks, .dim = dim, .n_factors = rt_code_n_factors(metric)};
    uint64_t share = n_blocks / (uint64_t)n_ranks + 1;
    return 3 * sizeof(uint64_t) * ((uint64_t)n_lists + 1) + rt_record_finder_bytes(n_lists) +
           rt_record_finder_bytes(n_lists < NEAR_LISTS ? n_lists : NEAR_LISTS) + (uint64_t)n_ranks +
           rt_block_window_bytes(dim, shape.n_factors, window_bytes / block + 1) +
           rt_list_writer_bytes(&shape, share, WRITE_BUFFER_BYTES) +
           rt_exchange_bytes(n_ranks, RT_EXCHANGE_PIECE);
}

/* F1: the directory, the same on all ranks, and this rank's first slot in each list. */
static void make_directory(struct compactor *c)
{
    MPI_Comm comm = c->context->job->comm;
    memcpy(c->rows, c->input->list_rows, c->n_lists * sizeof *c->rows);
    rt_exscan_u64(comm, c->rows, c->before, c->n_lists);
    rt_sum_u64(comm, c->rows, c->n_lists);
    c->first_blocks[0] = 0;
    for (uint32_t l = 0; l < c->n_lists; l++)
        c->first_blocks[l + 1] =
            c->first_blocks[l] + (c->rows[l] + RT_BLOCK_ROWS - 1) / RT_BLOCK_ROWS;
}

static struct rt_range window_of(const struct compactor *c, int rank)
{
    return rt_block_places_window(&c->places, rank, c->n_ranks, c->window_blocks, c->round);
}

/* Where a near rank finds what of this rank's belongs into its window. */
static void send_places(struct compactor *c, void *buffer, size_t capacity, size_t *n_bytes,
                        bool *more)
{
    struct near_head head = {c->own, c->lists};
    uint64_t n = rt_range_count(c->lists);
    uint64_t room = (capacity - sizeof head) / sizeof *c->before;
    room = room < NEAR_LISTS ? room : NEAR_LISTS;
    n = n < room ? n : room;
    head.lists.end = head.lists.begin + n;
    c->lists.begin += n;
    *more = rt_range_count(c->lists) > 0;
    *n_bytes = n > 0 ? sizeof head + n * sizeof *c->before : 0;
    memcpy(buffer, &head, sizeof head);
    memcpy((char *)buffer + sizeof head, c->before + head.lists.begin, n * sizeof *c->before);
}

static enum rt_status send_records(void *context, int to, void *buffer, size_t capacity,
                                   size_t *n_bytes, bool *more, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct compactor *c = context;
    bool is_new = c->to != to;
    c->to = to;
    if (is_new) {
        struct rt_range window = window_of(c, to);
        c->lists = rt_record_finder_lists(c->near, window);
        struct rt_record_aim aim = {window, c->lists, c->own, c->before + c->lists.begin};
        if (!c->is_near[to])
            RT_TRY(rt_record_finder_aim(c->far, &aim, err));
    }
    if (c->is_near[to])
        send_places(c, buffer, capacity, n_bytes, more);
    else
        RT_TRY(rt_record_finder_fill(c->far, buffer, capacity, n_bytes, more, err));
done:
    return st;
}

static enum rt_status count_records(struct compactor *c, uint64_t n_records, struct rt_error *err)
{
    rt_progress_add(c->context->progress, RT_COUNT_DONE, n_records);
    rt_progress_add(c->context->progress, RT_COUNT_BYTES_READ, n_records * c->tape_bytes);
    return rt_phase_check(c->context, err);
}

/* From the tape, where a near rank has written them. */
static enum rt_status fetch_records(struct compactor *c, const void *piece, size_t n_bytes,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct near_head head;
    memcpy(&head, piece, sizeof head);
    rt_assert(n_bytes == sizeof head + rt_range_count(head.lists) * sizeof(uint64_t));
    const struct rt_window_slots slots = rt_block_window_slots(c->records);
    struct rt_record_aim aim = {.window = c->window,
                                .lists = head.lists,
                                .chunks = head.chunks,
                                .before = (const uint64_t *)((const char *)piece + sizeof head)};
    uint64_t n_records = 0;
    RT_TRY(rt_record_finder_aim(c->near, &aim, err));
    do {
        RT_TRY(rt_record_finder_put(c->near, &slots, TAKE_RECORDS, &n_records, err));
        RT_TRY(count_records(c, n_records, err));
    } while (n_records == TAKE_RECORDS);
done:
    return st;
}

static enum rt_status take_records(void *context, int from, const void *bytes, size_t n_bytes,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct compactor *c = context;
    uint64_t n_records = n_bytes / c->wire_bytes;
    if (c->is_near[from])
        return fetch_records(c, bytes, n_bytes, err);
    if (!rt_block_window_take(c->records, bytes, n_records))
        RT_FAIL(RT_DAMAGED, "rank %d sent a record for a block outside this rank's window", from);
    RT_TRY(count_records(c, n_records, err));
done:
    return st;
}

static enum rt_status allocate(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new((size_t)c->n_lists + 1, sizeof *c->first_blocks, &c->first_blocks, err));
    RT_TRY(rt_array_new(c->n_lists, sizeof *c->rows, &c->rows, err));
    RT_TRY(rt_array_new(c->n_lists, sizeof *c->before, &c->before, err));
done:
    return st;
}

/* The tape, and what looks into it: into the part of every rank on this host, since one kernel
 * keeps its pages for all of them. */
static enum rt_status open_tape(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct rt_record_finder_input input = {.tape = &c->tape,
                                           .n_lists = c->n_lists,
                                           .most_lists = c->n_lists,
                                           .first_blocks = c->first_blocks,
                                           .places = &c->places};
    RT_TRY(rt_index_path(c->context->dir, RT_FILE_APPENDABLE, c->context->generation, true, path,
                         err));
    RT_TRY(rt_tape_open(path, &c->tape, err));
    RT_TRY(rt_record_finder_new(&input, &c->far, err));
    input.most_lists = c->n_lists < NEAR_LISTS ? c->n_lists : NEAR_LISTS;
    RT_TRY(rt_record_finder_new(&input, &c->near, err));
done:
    return st;
}

/* Collective. All agree: both sides of a piece must know what it is. */
static enum rt_status find_near(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_world *world = c->context->job->world;
    int *ranks = NULL;
    RT_LOCAL(rt_array_zero((size_t)c->n_ranks, 1, &c->is_near, err));
    RT_LOCAL(rt_array_new((size_t)world->node_size, sizeof *ranks, &ranks, err));
    RT_AGREE(c->context->job->comm);
    uint64_t is_cut_off = RT_FAULT("near");
    rt_max_u64(c->context->job->comm, &is_cut_off, 1);
    MPI_Allgather(&c->rank, 1, MPI_INT, ranks, 1, MPI_INT, world->node);
    for (int i = 0; i < world->node_size && !is_cut_off; i++)
        c->is_near[ranks[i]] = 1;
done:
    rt_array_free(ranks);
    return st;
}

/* Rank 0 makes the file, sized from the directory, unless a run before has. */
static enum rt_status make_file(struct compactor *c, struct rt_compact_output *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_job *job = c->context->job;
    char path[RT_PATH_MAX];
    struct rt_list_shape shape = {.generation = c->context->generation,
                                  .fingerprint = c->input->fingerprint,
                                  .n_lists = c->n_lists,
                                  .n_blocks = c->first_blocks[c->n_lists],
                                  .dim = c->dim,
                                  .n_factors = c->n_factors};
    uint64_t share_blocks = rt_list_share_blocks(&shape);
    out->n_blocks = shape.n_blocks;
    struct rt_durable_options durable = {.name = RT_DURABLE_COMPACT,
                                         .n_units =
                                             (shape.n_blocks + share_blocks - 1) / share_blocks,
                                         .n_sums = RT_HASH128_LIMBS};
    RT_TRY(rt_durable_new(c->context, &durable, &c->durable, err));
    RT_LOCAL(rt_block_places_begin(shape.n_blocks, share_blocks, rt_durable_before(c->durable),
                                   &c->places, err));
    RT_LOCAL(rt_list_layout(&shape, &out->layout, err));
    RT_LOCAL(
        rt_index_path(c->context->dir, RT_FILE_FROZEN, c->context->generation, true, path, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_phase_open_file(c->context, path, rt_durable_before(c->durable) != NULL, &out->layout,
                              &c->file, err));
    if (job->rank == 0)
        RT_LOCAL(rt_list_write_directory(c->file, NULL, c->first_blocks, c->rows, err));
    RT_LOCAL(rt_durable_start(c->durable, &c->file, 1, err));
    RT_AGREE(job->comm);
done:
    return st;
}

/* Windows are whole granules, the same on all ranks; rounds follow from the largest share. */
static uint64_t size_windows(struct compactor *c)
{
    uint64_t largest = 0;
    uint64_t block = block_bytes(c->dim, c->n_factors);
    uint64_t granule = c->places.share_blocks;
    for (int r = 0; r < c->n_ranks; r++) {
        uint64_t n = rt_range_count(rt_block_places_share(&c->places, r, c->n_ranks));
        largest = n > largest ? n : largest;
    }
    uint64_t budget = c->context->budget_bytes;
    rt_min_u64(c->context->job->comm, &budget, 1);
    uint64_t granules =
        rt_compact_window_bytes(budget, largest * block, c->n_ranks) / block / granule;
    c->window_blocks = (granules ? granules : 1) * granule;
    if (c->window_blocks > largest)
        c->window_blocks = largest ? largest : 1;
    rt_assert(c->window_blocks > 0);
    return (largest + c->window_blocks - 1) / c->window_blocks;
}

/* The blocks of this rank's share that follow `block`, up to the next granule that is done. */
static enum rt_status open_run(struct compactor *c, uint64_t block, uint64_t place,
                               struct rt_error *err)
{
    const struct rt_block_places *p = &c->places;
    uint64_t end = rt_block_places_share(p, c->rank, c->n_ranks).end;
    c->run_end = block;
    while (place < end && c->run_end < p->n_blocks && rt_block_is_missing(p, c->run_end)) {
        uint64_t left = p->n_blocks - c->run_end;
        uint64_t step = p->share_blocks < left ? p->share_blocks : left;
        c->run_end += step;
        place += step;
    }
    return rt_list_writer_new(c->file, block, c->run_end, WRITE_BUFFER_BYTES, &c->writer, err);
}

static enum rt_status close_run(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = rt_unit_writer_end(c->writer, rt_list_fill, err);
    rt_unit_writer_free(c->writer);
    c->writer = NULL;
    return st;
}

/* Blocks [at, at + n) of the window, into the run at hand. */
static enum rt_status append_blocks(struct compactor *c, uint64_t at, uint64_t n,
                                    struct rt_hash128 *hash, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_blocks blocks;
    for (uint64_t end = at + n; at < end; at += blocks.n_blocks) {
        uint64_t batch = end - at < RT_WINDOW_BATCH ? end - at : RT_WINDOW_BATCH;
        rt_block_window_pack(c->records, at, batch, &blocks, hash);
        RT_TRY(rt_list_append(c->writer, &blocks, err));
    }
done:
    return st;
}

static enum rt_status write_window(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hash128 hash = {0, 0};
    for (uint64_t place = c->window.begin; place < c->window.end;) {
        uint64_t block = rt_block_at_place(&c->places, place);
        if (!c->writer)
            RT_TRY(open_run(c, block, place, err));
        uint64_t n = c->window.end - place;
        n = n < c->run_end - block ? n : c->run_end - block;
        RT_TRY(append_blocks(c, place - c->window.begin, n, &hash, err));
        if (block + n == c->run_end)
            RT_TRY(close_run(c, err));
        place += n;
    }
    rt_progress_add(c->context->progress, RT_COUNT_BYTES_WRITTEN,
                    rt_range_count(c->window) * block_bytes(c->dim, c->n_factors));
    c->rows_hash = rt_hash128_add(c->rows_hash, hash);
    c->n_written = c->window.end;
done:
    return st;
}

static void take_hash(struct compactor *c, uint64_t limbs[RT_HASH128_LIMBS])
{
    rt_hash128_add_limbs(c->rows_hash, limbs);
    c->rows_hash = (struct rt_hash128){0, 0};
}

/* The windows that are written are handed in. */
static enum rt_status keep_windows(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t limbs[RT_HASH128_LIMBS] = {0};
    if (c->writer)
        RT_TRY(rt_unit_writer_flush(c->writer, err));
    take_hash(c, limbs);
    const uint64_t step = c->places.share_blocks;
    for (uint64_t place = c->n_kept; place < c->n_written; place += step) {
        uint64_t granule = rt_block_at_place(&c->places, place) / step;
        RT_TRY(rt_durable_keep(c->durable, granule, granule + 1, limbs, NULL, 0, err));
    }
    c->n_kept = c->n_written;
done:
    return st;
}

static enum rt_status run_round(struct compactor *c, struct rt_exchange *exchange,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    c->window = window_of(c, c->rank);
    c->to = -1;
    rt_block_window_clear(c->records, rt_range_count(c->window));
    RT_TRY(rt_exchange_round(exchange, NULL, send_records, take_records, c, err));
    RT_LOCAL(write_window(c, err));
    if (st == RT_OK && (rt_durable_asks(c->durable) || c->round + 1 == c->n_rounds))
        RT_LOCAL(keep_windows(c, err));
    RT_AGREE(c->context->job->comm);
done:
    return st;
}

static void release(struct compactor *c)
{
    rt_durable_free(c->durable);
    rt_unit_writer_free(c->writer);
    rt_record_finder_free(c->near);
    rt_record_finder_free(c->far);
    rt_tape_close(&c->tape);
    rt_array_free(c->is_near);
    rt_block_places_end(&c->places);
    rt_array_free(c->first_blocks);
    rt_array_free(c->rows);
    rt_array_free(c->before);
    rt_block_window_free(c->records);
}

enum rt_status rt_compact_phase(struct rt_phase_context *context,
                                const struct rt_compact_input *input, struct rt_compact_output *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_exchange *exchange = NULL;
    struct rt_phase_clock clock;
    uint64_t limbs[RT_HASH128_LIMBS] = {0};
    struct rt_error ignored;
    memset(out, 0, sizeof *out);
    struct compactor c = {.context = context,
                          .input = input,
                          .dim = input->tape_shape->dim,
                          .n_factors = input->tape_shape->n_factors,
                          .n_lists = input->n_lists,
                          .rank = context->job->rank,
                          .n_ranks = context->job->n_ranks,
                          .own = {input->first_chunk, input->first_chunk + input->n_chunks}};
    c.wire_bytes = rt_block_window_wire_bytes(c.dim, c.n_factors);
    c.tape_bytes = rt_tape_record_bytes(input->tape_shape->code_bytes, c.n_factors);
    uint64_t n_records = 0;
    for (uint32_t l = 0; l < c.n_lists; l++)
        n_records += input->list_rows[l];
    rt_sum_u64(comm, &n_records, 1);
    rt_phase_begin(context, "compact", "records", n_records, &clock);
    RT_LOCAL(allocate(&c, err));
    RT_LOCAL(open_tape(&c, err));
    RT_AGREE(comm);
    RT_TRY(find_near(&c, err));
    make_directory(&c);
    RT_TRY(make_file(&c, out, err));
    c.n_rounds = out->n_rounds = size_windows(&c);
    c.n_kept = c.n_written = rt_block_places_share(&c.places, c.rank, c.n_ranks).begin;
    RT_LOCAL(rt_block_window_new(c.dim, c.n_factors, c.window_blocks, &c.records, err));
    RT_AGREE(comm);
    RT_TRY(rt_exchange_new(comm, 0, &exchange, err));
    for (c.round = 0; c.round < out->n_rounds; c.round++)
        RT_TRY(run_round(&c, exchange, err));
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
done:
    rt_exchange_free(exchange);
    if (st == RT_STOPPED && keep_windows(&c, &ignored) != RT_OK)
        st = RT_STOPPED; /* then the last state has to do */
    st = rt_durable_end(c.durable, st, err);
    st = rt_phase_close_file(context, c.file, st, err);
    take_hash(&c, limbs);
    rt_durable_take(c.durable, limbs, NULL, NULL);
    out->rows_hash = rt_sum_hash128(comm, rt_hash128_of_limbs(limbs));
    release(&c);
    return st;
}
