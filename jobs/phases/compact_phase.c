#include "jobs/phases/compact_phase.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/record.h"
#include "io/index_dir.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <string.h>

#define LEAST_WINDOW_BYTES (UINT64_C(1) << 20)
#define MOST_WINDOW_BYTES (UINT64_C(1) << 30)
#define WRITE_BUFFER_BYTES ((size_t)8 << 20)

/* A record on its way: this head, then factors, then code. */
struct wire_head {
    uint64_t slot; /* block x 32 + row in it, over the whole frozen file */
    uint64_t id;
    struct rt_place place;
    uint32_t list;
    uint32_t unused; /* zero: no padding travels unset */
};

/* Where the sender stands among its chunks, for one receiver's window. */
struct sender {
    int to;              /* receiver it is prepared for, -1: none */
    uint64_t begin, end; /* slots of the window */
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
    uint64_t share_blocks;
    uint64_t window_blocks;
    uint64_t round;
    struct rt_tape_view tape;
    struct sender sender;
    uint64_t window_begin, window_end; /* blocks that this rank receives in this round */
    uint8_t *codes;                    /* the window, as it will lie in the file */
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
    struct rt_hash128 rows_hash;
    struct rt_h5_file *file;
    struct rt_unit_writer *writer;
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
                                uint64_t window_bytes, int n_ranks)
{
    uint64_t block = block_bytes(dim, rt_code_n_factors(metric));
    return 4 * sizeof(uint64_t) * ((uint64_t)n_lists + 1) + (window_bytes / block + 1) * block +
           WRITE_BUFFER_BYTES + RT_LIST_COLUMNS * RT_UNIT_BYTES +
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
    struct rt_range share =
        rt_share(c->first_blocks[c->n_lists], rank, c->n_ranks, c->share_blocks);
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

/* First record in [begin, end) of the tape whose list is at least `list` (E3: sorted inside a
 * chunk). */
static uint64_t first_of_list(const struct compactor *c, uint64_t begin, uint64_t end,
                              uint32_t list)
{
    const uint32_t *lists = c->tape.records.lists;
    while (begin < end) {
        uint64_t middle = begin + (end - begin) / 2;
        if (lists[middle] < list)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static void aim(struct compactor *c, int to)
{
    struct rt_range window = window_of(c, to);
    struct sender *s = &c->sender;
    *s = (struct sender){
        .to = to, .begin = window.begin * RT_BLOCK_ROWS, .end = window.end * RT_BLOCK_ROWS};
    if (window.begin == window.end)
        return;
    s->first_list = list_of_block(c, window.begin);
    s->end_list = list_of_block(c, window.end - 1) + 1;
    memcpy(c->next, c->before + s->first_list, (s->end_list - s->first_list) * sizeof *c->next);
}

/* The next record for the window: its number in the tape and its slot. False: no more. */
static bool next_record(struct compactor *c, uint64_t *record, uint64_t *slot)
{
    struct sender *s = &c->sender;
    for (; s->chunk < c->input->n_chunks; s->chunk++, s->in_chunk = false) {
        if (!s->in_chunk) {
            const uint64_t *entry = c->tape.chunks + 2 * (c->input->first_chunk + s->chunk);
            s->record = first_of_list(c, entry[0], entry[0] + entry[1], s->first_list);
            s->record_end = first_of_list(c, s->record, entry[0] + entry[1], s->end_list);
            s->in_chunk = true;
        }
        while (s->record < s->record_end) {
            uint32_t list = c->tape.records.lists[s->record];
            uint64_t in_list = c->next[list - s->first_list]++;
            *slot = c->first_blocks[list] * RT_BLOCK_ROWS + in_list;
            *record = s->record++;
            if (*slot >= s->begin && *slot < s->end)
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
        if (c->sender.begin == c->sender.end || !next_record(c, &record, &slot)) {
            *more = false;
            break;
        }
        struct wire_head head = {.slot = slot,
                                 .id = records->ids[record],
                                 .place = records->places[record],
                                 .list = records->lists[record]};
        memcpy(out, &head, sizeof head);
        memcpy(out + sizeof head, records->factors + record * c->n_factors,
               c->n_factors * sizeof(float));
        memcpy(out + sizeof head + c->n_factors * sizeof(float),
               records->codes + record * c->code_bytes, c->code_bytes);
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
    float factors[RT_MAX_FACTORS];
    for (size_t at = 0; at + c->wire_bytes <= n_bytes; at += c->wire_bytes, in += c->wire_bytes) {
        struct wire_head head;
        memcpy(&head, in, sizeof head);
        const uint8_t *code = in + sizeof head + c->n_factors * sizeof(float);
        memcpy(factors, in + sizeof head, c->n_factors * sizeof(float));
        uint64_t block = head.slot / RT_BLOCK_ROWS;
        uint32_t row = (uint32_t)(head.slot % RT_BLOCK_ROWS);
        if (block < c->window_begin || block >= c->window_end)
            RT_FAIL(RT_DAMAGED, "rank %d sent a record for block %llu, outside this rank's window",
                    from, (unsigned long long)block);
        block -= c->window_begin;
        rt_block_put(c->codes + block * rt_block_code_bytes(c->dim), c->dim, row, code);
        for (uint32_t f = 0; f < c->n_factors; f++)
            c->factors[(block * c->n_factors + f) * RT_BLOCK_ROWS + row] = factors[f];
        c->ids[block * RT_BLOCK_ROWS + row] = head.id;
        c->places[block * RT_BLOCK_ROWS + row] = head.place;
        c->rows_hash =
            rt_hash128_add(c->rows_hash, rt_record_hash(head.list, head.id, code, c->code_bytes,
                                                        factors, c->n_factors));
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

static enum rt_status allocate_window(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = (size_t)c->window_blocks;
    RT_TRY(rt_array_new(n, rt_block_code_bytes(c->dim), &c->codes, err));
    RT_TRY(rt_array_new(n, sizeof(float) * c->n_factors * RT_BLOCK_ROWS, &c->factors, err));
    RT_TRY(rt_array_new(n, RT_BLOCK_ROWS * sizeof(uint64_t), &c->ids, err));
    RT_TRY(rt_array_new(n, RT_BLOCK_ROWS * sizeof(struct rt_place), &c->places, err));
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

/* Rank 0 makes the file, sized from the directory; every rank gets a writer over its share. */
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
    out->n_blocks = shape.n_blocks;
    RT_LOCAL(rt_list_layout(&shape, &out->layout, err));
    RT_LOCAL(
        rt_index_path(c->context->dir, RT_FILE_FROZEN, c->context->generation, true, path, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_phase_create_file(c->context, path, &out->layout, &c->file, err));
    struct rt_range share = rt_share(shape.n_blocks, job->rank, job->n_ranks, c->share_blocks);
    if (job->rank == 0)
        RT_LOCAL(rt_list_write_directory(c->file, NULL, c->first_blocks, c->rows, err));
    RT_LOCAL(
        rt_list_writer_new(c->file, share.begin, share.end, WRITE_BUFFER_BYTES, &c->writer, err));
    RT_AGREE(job->comm);
done:
    return st;
}

/* Windows are as large as the budget allows, the same on all ranks; rounds follow from the largest
 * share. */
static uint64_t size_windows(struct compactor *c)
{
    uint64_t largest = 0;
    uint64_t block = block_bytes(c->dim, c->n_factors);
    for (int r = 0; r < c->n_ranks; r++) {
        uint64_t n =
            rt_range_count(rt_share(c->first_blocks[c->n_lists], r, c->n_ranks, c->share_blocks));
        largest = n > largest ? n : largest;
    }
    uint64_t budget = c->context->budget_bytes;
    rt_min_u64(c->context->job->comm, &budget, 1);
    c->window_blocks = rt_compact_window_bytes(budget, largest * block) / block + 1;
    return (largest + c->window_blocks - 1) / c->window_blocks;
}

static enum rt_status write_window(struct compactor *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_blocks blocks = {.n_blocks = c->window_end - c->window_begin,
                                    .codes = c->codes,
                                    .factors = c->factors,
                                    .ids = c->ids,
                                    .places = c->places};
    RT_TRY(rt_list_append(c->writer, &blocks, err));
    rt_progress_add(c->context->progress, RT_COUNT_BYTES_WRITTEN,
                    blocks.n_blocks * block_bytes(c->dim, c->n_factors));
done:
    return st;
}

static enum rt_status run_round(struct compactor *c, struct rt_exchange *exchange,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_range window = window_of(c, c->context->job->rank);
    size_t n = (size_t)rt_range_count(window);
    c->window_begin = window.begin;
    c->window_end = window.end;
    c->sender.to = -1;
    memset(c->codes, 0, n * rt_block_code_bytes(c->dim));
    memset(c->factors, 0, n * c->n_factors * RT_BLOCK_ROWS * sizeof(float));
    memset(c->ids, 0xff, n * RT_BLOCK_ROWS * sizeof(uint64_t));
    memset(c->places, 0, n * RT_BLOCK_ROWS * sizeof(struct rt_place));
    RT_TRY(rt_exchange_round(exchange, NULL, send_records, take_records, c, err));
    RT_LOCAL(write_window(c, err));
    RT_AGREE(c->context->job->comm);
done:
    return st;
}

static void release(struct compactor *c)
{
    rt_unit_writer_free(c->writer);
    rt_tape_close(&c->tape);
    rt_array_free(c->first_blocks);
    rt_array_free(c->rows);
    rt_array_free(c->before);
    rt_array_free(c->next);
    rt_array_free(c->codes);
    rt_array_free(c->factors);
    rt_array_free(c->ids);
    rt_array_free(c->places);
}

enum rt_status rt_compact_phase(struct rt_phase_context *context,
                                const struct rt_compact_input *input, struct rt_compact_output *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    MPI_Comm comm = context->job->comm;
    struct rt_exchange *exchange = NULL;
    struct rt_phase_clock clock;
    memset(out, 0, sizeof *out);
    struct compactor c = {.context = context,
                          .input = input,
                          .dim = input->tape_shape->dim,
                          .code_bytes = input->tape_shape->code_bytes,
                          .n_factors = input->tape_shape->n_factors,
                          .n_lists = input->n_lists,
                          .n_ranks = context->job->n_ranks};
    c.wire_bytes = sizeof(struct wire_head) + c.n_factors * sizeof(float) + c.code_bytes;
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
    out->n_rounds = size_windows(&c);
    RT_LOCAL(allocate_window(&c, err));
    RT_AGREE(comm);
    RT_TRY(rt_exchange_new(comm, 0, &exchange, err));
    for (c.round = 0; c.round < out->n_rounds; c.round++)
        RT_TRY(run_round(&c, exchange, err));
    RT_LOCAL(rt_unit_writer_end(c.writer, rt_list_fill, err));
    RT_TRY(rt_phase_end(context, &clock, st, &out->record, err));
    out->rows_hash = rt_sum_hash128(comm, c.rows_hash);
done:
    rt_exchange_free(exchange);
    st = rt_phase_close_file(context, c.file, st, err);
    release(&c);
    return st;
}
