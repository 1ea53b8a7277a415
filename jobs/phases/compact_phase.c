#include "jobs/phases/compact_phase.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/index_dir.h"
#include "jobs/phases/block_window.h"
#include "jobs/phases/durable.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <string.h>

#define LEAST_WINDOW_BYTES (UINT64_C(1) << 20)
#define MOST_WINDOW_BYTES (UINT64_C(1) << 30)
#define WRITE_BUFFER_BYTES ((size_t)8 << 20)

/* A record on its way: its slot (u64: block x 32 + row in it, over the whole frozen file), then
 * what its window keeps of it. */
#define WIRE_HEAD sizeof(uint64_t)

/* Where the sender stands among its chunks, for one receiver's window. */
struct sender {
    int to; /* receiver it is prepared for, -1: none */
    struct rt_range window;
    uint32_t first_list; /* lists that touch the window: [first_list, end_list) */
    uint32_t end_list;
    uint64_t chunk;              /* local chunk being read */
    uint64_t record, record_end; /* in the tape file */
    bool in_chunk;
};

struct compactor {
    struct rt_phase_context *context;
    const struct rt_compact_input *input;
    uint32_t dim, code_bytes, n_factors, n_lists;
    size_t wire_bytes; /* of a record on its way, and on the tape */
    size_t tape_bytes;
    int n_ranks;
    uint64_t *first_blocks; /* n_lists + 1: where lists begin (prefix sums) */
    uint64_t *rows;         /* n_lists: of all ranks */
    uint64_t *before;       /* n_lists: rows of the list on ranks before this one */
    uint64_t *next; /* slot in its list of the sender's next record, by list from first_list on */
    /* Blocks are counted in granules of share_blocks, the unit of resume. Those that no run before
     * has made durable, in order, have places 0.. (G5): without such a run a block's place is its
     * number. Windows are ranges of places, whole granules. */
    uint64_t share_blocks;
    uint64_t n_granules;
    uint64_t *missing_before; /* n_granules + 1: granules to do before each; NULL: all are to do */
    uint64_t n_places;
    uint64_t window_blocks;
    uint64_t round, n_rounds;
    struct rt_tape_view tape;
    struct sender sender;
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

uint64_t rt_compact_window_bytes(uint64_t budget_bytes, uint64_t share_bytes)
{
    uint64_t window = budget_bytes ? budget_bytes / 4 : MOST_WINDOW_BYTES;
    window = window > MOST_WINDOW_BYTES ? MOST_WINDOW_BYTES : window;
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
    return 4 * sizeof(uint64_t) * ((uint64_t)n_lists + 1) +
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

/* ---- places ---- */

static bool is_missing(const struct compactor *c, uint64_t granule)
{
    return !c->missing_before || c->missing_before[granule] < c->missing_before[granule + 1];
}

static uint64_t place_of(const struct compactor *c, uint64_t block)
{
    return c->missing_before ? c->missing_before[block / c->share_blocks] * c->share_blocks +
                                   block % c->share_blocks
                             : block;
}

static uint64_t block_at(const struct compactor *c, uint64_t place)
{
    uint64_t low = 0; /* the last granule that at most so many missing ones stand before */
    uint64_t high = c->n_granules;
    if (!c->missing_before)
        return place;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (c->missing_before[middle] <= place / c->share_blocks)
            low = middle;
        else
            high = middle;
    }
    return low * c->share_blocks + place % c->share_blocks;
}

/* What is left to do, from the bits of runs before this one. */
static enum rt_status number_places(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const uint64_t *done = rt_durable_before(c->durable);
    uint64_t n_blocks = c->first_blocks[c->n_lists];
    c->n_places = n_blocks;
    if (!done)
        goto done;
    RT_TRY(rt_array_zero((size_t)c->n_granules + 1, sizeof *c->missing_before, &c->missing_before,
                         err));
    for (uint64_t g = 0; g < c->n_granules; g++)
        c->missing_before[g + 1] = c->missing_before[g] + !rt_bit_get(done, g);
    c->n_places = c->missing_before[c->n_granules] * c->share_blocks;
    if (c->n_granules && is_missing(c, c->n_granules - 1)) /* which may be short */
        c->n_places -= c->n_granules * c->share_blocks - n_blocks;
done:
    return st;
}

static struct rt_range share_of(const struct compactor *c, int rank)
{
    return rt_share(c->n_places, rank, c->n_ranks, c->share_blocks);
}

static struct rt_range window_of(const struct compactor *c, int rank)
{
    struct rt_range share = share_of(c, rank);
    struct rt_range window = {share.begin + c->round * c->window_blocks, 0};
    window.begin = window.begin < share.end ? window.begin : share.end;
    window.end =
        share.end - window.begin > c->window_blocks ? window.begin + c->window_blocks : share.end;
    return window;
}

/* The list that holds a block: the last one that begins at or before it and is not empty. */
static uint32_t list_of_block(const struct compactor *c, uint64_t block)
{
    uint32_t low = 0;
    uint32_t high = c->n_lists;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (c->first_blocks[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void aim(struct compactor *c, int to)
{
    struct rt_range window = window_of(c, to);
    struct sender *s = &c->sender;
    *s = (struct sender){.to = to, .window = window};
    if (window.begin == window.end)
        return;
    s->first_list = list_of_block(c, block_at(c, window.begin));
    s->end_list = list_of_block(c, block_at(c, window.end - 1)) + 1;
    memcpy(c->next, c->before + s->first_list, (s->end_list - s->first_list) * sizeof *c->next);
}

static bool is_in_window(const struct compactor *c, uint64_t block)
{
    uint64_t place = place_of(c, block);
    return place >= c->sender.window.begin && place < c->sender.window.end &&
           is_missing(c, block / c->share_blocks);
}

/* The next record for the window: its number in the tape and its slot. False: no more. */
static bool next_record(struct compactor *c, uint64_t *record, uint64_t *slot)
{
    struct sender *s = &c->sender;
    for (; s->chunk < c->input->n_chunks; s->chunk++, s->in_chunk = false) {
        if (!s->in_chunk) {
            const uint64_t *entry = c->tape.chunks + 2 * (c->input->first_chunk + s->chunk);
            s->record =
                rt_tape_first_of_list(&c->tape, entry[0], entry[0] + entry[1], s->first_list);
            s->record_end =
                rt_tape_first_of_list(&c->tape, s->record, entry[0] + entry[1], s->end_list);
            s->in_chunk = true;
        }
        while (s->record < s->record_end) {
            uint32_t list = c->tape.records.lists[s->record];
            uint64_t in_list = c->next[list - s->first_list]++;
            *slot = c->first_blocks[list] * RT_BLOCK_ROWS + in_list;
            *record = s->record++;
            if (is_in_window(c, *slot / RT_BLOCK_ROWS))
                return true;
        }
    }
    return false;
}

static enum rt_status send_records(void *context, int to, void *buffer, size_t capacity,
                                   size_t *n_bytes, bool *more, struct rt_error *err)
{
    (void)err;
    struct compactor *c = context;
    const struct rt_tape_records *records = &c->tape.records;
    unsigned char *out = buffer;
    if (c->sender.to != to)
        aim(c, to);
    *more = true;
    size_t n = 0;
    while ((n + 1) * c->wire_bytes <= capacity) {
        uint64_t record = 0;
        uint64_t slot = 0;
        if (rt_range_count(c->sender.window) == 0 || !next_record(c, &record, &slot)) {
            *more = false;
            break;
        }
        memcpy(out, &slot, sizeof slot);
        memcpy(out + WIRE_HEAD, &records->places[record], sizeof *records->places);
        rt_record_pack(records->lists[record], records->ids[record],
                       records->codes + record * c->code_bytes, c->code_bytes,
                       records->factors + record * c->n_factors, c->n_factors,
                       out + WIRE_HEAD + sizeof *records->places);
        out += c->wire_bytes;
        n++;
    }
    *n_bytes = n * c->wire_bytes;
    return RT_OK;
}

static enum rt_status take_records(void *context, int from, const void *bytes, size_t n_bytes,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct compactor *c = context;
    const unsigned char *in = bytes;
    for (size_t at = 0; at + c->wire_bytes <= n_bytes; at += c->wire_bytes, in += c->wire_bytes) {
        uint64_t slot = 0;
        memcpy(&slot, in, sizeof slot);
        uint64_t block = slot / RT_BLOCK_ROWS;
        uint64_t place = block < c->first_blocks[c->n_lists] ? place_of(c, block) : UINT64_MAX;
        if (place < c->window.begin || place >= c->window.end)
            RT_FAIL(RT_DAMAGED, "rank %d sent a record for block %llu, outside this rank's window",
                    from, (unsigned long long)block);
        rt_block_window_put(c->records,
                            (place - c->window.begin) * RT_BLOCK_ROWS + slot % RT_BLOCK_ROWS,
                            in + WIRE_HEAD);
    }
    uint64_t n_records = n_bytes / c->wire_bytes;
    rt_progress_add(c->context->progress, RT_COUNT_DONE, n_records);
    rt_progress_add(c->context->progress, RT_COUNT_BYTES_READ, n_records * c->tape_bytes);
    RT_TRY(rt_phase_check(c->context, err));
done:
    return st;
}

static enum rt_status allocate(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    RT_TRY(rt_array_new((size_t)c->n_lists + 1, sizeof *c->first_blocks, &c->first_blocks, err));
    RT_TRY(rt_array_new(c->n_lists, sizeof *c->rows, &c->rows, err));
    RT_TRY(rt_array_new(c->n_lists, sizeof *c->before, &c->before, err));
    RT_TRY(rt_array_new(c->n_lists, sizeof *c->next, &c->next, err));
done:
    return st;
}

static enum rt_status open_tape(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_TRY(rt_index_path(c->context->dir, RT_FILE_APPENDABLE, c->context->generation, true, path,
                         err));
    RT_TRY(rt_tape_open(path, &c->tape, err));
done:
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
    c->share_blocks = rt_list_share_blocks(&shape);
    c->n_granules = (shape.n_blocks + c->share_blocks - 1) / c->share_blocks;
    out->n_blocks = shape.n_blocks;
    struct rt_durable_options durable = {
        .name = "compact", .n_units = c->n_granules, .n_sums = RT_HASH128_LIMBS};
    RT_TRY(rt_durable_new(c->context, &durable, &c->durable, err));
    RT_LOCAL(number_places(c, err));
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

/* Windows are as large as the budget allows, whole granules, the same on all ranks; rounds follow
 * from the largest share. */
static uint64_t size_windows(struct compactor *c)
{
    uint64_t largest = 0;
    uint64_t block = block_bytes(c->dim, c->n_factors);
    for (int r = 0; r < c->n_ranks; r++) {
        uint64_t n = rt_range_count(share_of(c, r));
        largest = n > largest ? n : largest;
    }
    uint64_t budget = c->context->budget_bytes;
    rt_min_u64(c->context->job->comm, &budget, 1);
    uint64_t granules = rt_compact_window_bytes(budget, largest * block) / block / c->share_blocks;
    c->window_blocks = (granules ? granules : 1) * c->share_blocks;
    if (c->window_blocks > largest)
        c->window_blocks = largest ? largest : 1;
    return (largest + c->window_blocks - 1) / c->window_blocks;
}

/* The blocks of this rank's share that follow `block`, up to the next granule that is done. */
static enum rt_status open_run(struct compactor *c, uint64_t block, uint64_t place,
                               struct rt_error *err)
{
    uint64_t end = share_of(c, c->context->job->rank).end;
    uint64_t n_blocks = c->first_blocks[c->n_lists];
    c->run_end = block;
    while (place < end && c->run_end < n_blocks && is_missing(c, c->run_end / c->share_blocks)) {
        uint64_t step =
            c->share_blocks < n_blocks - c->run_end ? c->share_blocks : n_blocks - c->run_end;
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
        uint64_t block = block_at(c, place);
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
    for (uint64_t place = c->n_kept; place < c->n_written; place += c->share_blocks) {
        uint64_t granule = block_at(c, place) / c->share_blocks;
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
    c->window = window_of(c, c->context->job->rank);
    c->sender.to = -1;
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
    rt_array_free(c->missing_before);
    rt_tape_close(&c->tape);
    rt_array_free(c->first_blocks);
    rt_array_free(c->rows);
    rt_array_free(c->before);
    rt_array_free(c->next);
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
                          .code_bytes = input->tape_shape->code_bytes,
                          .n_factors = input->tape_shape->n_factors,
                          .n_lists = input->n_lists,
                          .n_ranks = context->job->n_ranks};
    c.wire_bytes = WIRE_HEAD + rt_block_window_record_bytes(c.dim, c.n_factors);
    c.tape_bytes = sizeof(uint32_t) + sizeof(uint64_t) + sizeof(struct rt_place) +
                   c.n_factors * sizeof(float) + c.code_bytes;
    uint64_t n_records = 0;
    for (uint32_t l = 0; l < c.n_lists; l++)
        n_records += input->list_rows[l];
    rt_sum_u64(comm, &n_records, 1);
    rt_phase_begin(context, "compact", "records", n_records, &clock);
    RT_LOCAL(allocate(&c, err));
    RT_LOCAL(open_tape(&c, err));
    RT_AGREE(comm);
    make_directory(&c);
    RT_TRY(make_file(&c, out, err));
    c.n_rounds = out->n_rounds = size_windows(&c);
    c.n_kept = c.n_written = share_of(&c, context->job->rank).begin;
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
