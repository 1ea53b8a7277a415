#include "kmeans/sample.h"

#include "core/memory.h"
#include "mpi/agree.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20) /* of one read */
#define N_BINS 512                    /* of the histogram of magnitudes (C2) */
#define BIN_OF_ONE 256                /* bin of exponent 0; 2^-149 .. 2^128 fit on both sides */
#define VOTING_OCTAVES 16             /* a row votes within 2^16 of the median */
#define LEAST_EXPONENT (-126)         /* of a sample of zeros */

/* The drawn rows of [begin, end) in ascending runs (D1). */
struct run_reader {
    const struct rt_sample_options *options;
    uint64_t block_rows, n_blocks, n_drawn;
    uint64_t at; /* next row */
    size_t most; /* rows a run may have */
};

static struct run_reader runs_of(const struct rt_sample_options *options)
{
    uint64_t block_rows = rt_sample_block_rows(options->dim);
    uint64_t n_blocks = options->n_rows / block_rows + (options->n_rows % block_rows != 0);
    uint64_t n_drawn = options->n_wanted / block_rows + (options->n_wanted % block_rows != 0);
    size_t most = PIECE_BYTES / (options->dim * rt_element_size(options->type));
    struct run_reader runs = {options,        block_rows,
                              n_blocks,       n_drawn < n_blocks ? n_drawn : n_blocks,
                              options->begin, most > 0 ? most : 1};
    return runs;
}

static bool is_drawn(const struct run_reader *runs, uint64_t block)
{
    return runs->n_drawn == runs->n_blocks ||
           rt_random_permute(runs->options->seed, RT_RANDOM_SAMPLE_BLOCK, block, runs->n_blocks) <
               runs->n_drawn;
}

/* Rows [*first, *first + returned) are drawn; 0: no more. */
static size_t next_run(struct run_reader *runs, uint64_t *first)
{
    uint64_t end = runs->options->end;
    while (runs->at < end && !is_drawn(runs, runs->at / runs->block_rows))
        runs->at = (runs->at / runs->block_rows + 1) * runs->block_rows;
    if (runs->at >= end)
        return 0;
    *first = runs->at;
    uint64_t n = 0;
    do {
        uint64_t block_end = (runs->at / runs->block_rows + 1) * runs->block_rows;
        if (block_end > end)
            block_end = end;
        uint64_t most = runs->most - n;
        uint64_t step = block_end - runs->at < most ? block_end - runs->at : most;
        n += step;
        runs->at += step;
    } while (n < runs->most && runs->at < end && is_drawn(runs, runs->at / runs->block_rows));
    return (size_t)n;
}

static uint64_t count_drawn(const struct rt_sample_options *options)
{
    struct run_reader runs = runs_of(options);
    uint64_t first = 0;
    uint64_t n_all = 0;
    for (size_t n = next_run(&runs, &first); n > 0; n = next_run(&runs, &first))
        n_all += n;
    return n_all;
}

/* What a rank holds while it reads. */
struct reading {
    const struct rt_sample_options *options;
    struct rt_sample *sample;
    unsigned char *piece; /* rows in their element type */
    float *values;        /* the same, f32, rotated */
    int16_t *exponents;   /* of each kept row's largest magnitude: below 2^e */
    uint64_t n_drawn, n_done;
    int64_t bins[N_BINS];
    int64_t n_bad;
};

static enum rt_status name_bad_row(const struct rt_sample_options *options, uint64_t row,
                                   enum rt_row_verdict verdict, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char name[256];
    (void)snprintf(name, sizeof name, "row %" PRIu64, row);
    if (options->name_row)
        options->name_row(options->ctx, row, name, sizeof name);
    RT_FAIL(RT_INPUT, "%s %s; --bad-rows skip leaves such rows out", name,
            rt_row_verdict_text(verdict));
done:
    return st;
}

static int16_t exponent_of(const float *row, size_t dim)
{
    float most = 0;
    for (size_t i = 0; i < dim; i++) {
        float magnitude = fabsf(row[i]);
        most = magnitude > most ? magnitude : most;
    }
    int exponent = -BIN_OF_ONE; /* a row of zeros */
    if (most > 0)
        (void)frexpf(most, &exponent);
    return (int16_t)exponent;
}

/* Judges the n rows of the piece, keeps the good ones, rotates and measures them. */
static enum rt_status keep_piece(struct reading *r, uint64_t first, size_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_sample_options *options = r->options;
    struct rt_sample *sample = r->sample;
    size_t dim = sample->row_dim;
    size_t native_bytes = dim * rt_element_size(options->type);
    float *values = r->values;
    rt_element_to_f32(options->type, r->piece, values, n * dim);
    size_t n_good = 0;
    for (size_t i = 0; i < n; i++) {
        float *row = values + i * dim;
        enum rt_row_verdict verdict = rt_metric_prepare_row(options->metric, row, dim); /* A6 */
        if (verdict != RT_ROW_GOOD) {
            if (!options->skip_bad_rows)
                RT_TRY(name_bad_row(options, first + i, verdict, err));
            r->n_bad++;
            continue;
        }
        if (n_good < i) {
            memcpy(values + n_good * dim, row, dim * sizeof *row);
            memcpy(r->piece + n_good * native_bytes, r->piece + i * native_bytes, native_bytes);
        }
        n_good++;
    }
    if (options->rotation)
        rt_rotation_apply(options->rotation, values, n_good);
    for (size_t i = 0; i < n_good; i++) {
        int16_t exponent = exponent_of(values + i * dim, dim);
        r->exponents[sample->n_local + i] = exponent;
        r->bins[BIN_OF_ONE + exponent]++;
    }
    memcpy(sample->rows + sample->n_local * sample->row_bytes,
           options->native ? (const void *)r->piece : (const void *)values,
           n_good * sample->row_bytes);
    sample->n_local += n_good;
done:
    return st;
}

static enum rt_status read_pieces(struct reading *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct run_reader runs = runs_of(r->options);
    uint64_t first = 0;
    for (size_t n = next_run(&runs, &first); n > 0; n = next_run(&runs, &first)) {
        RT_TRY(r->options->read(r->options->ctx, first, n, r->piece, err));
        RT_TRY(keep_piece(r, first, n, err));
        r->n_done += n;
        if (r->options->progress)
            r->options->progress(r->options->ctx, r->n_done, r->n_drawn);
    }
done:
    return st;
}

static enum rt_status reading_new(struct reading *r, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_sample_options *options = r->options;
    struct rt_sample *sample = r->sample;
    r->n_drawn = count_drawn(options);
    if (r->n_drawn > UINT32_MAX)
        RT_FAIL(RT_USAGE,
                "%" PRIu64 " sample rows on one rank are more than 2^32-1: use more ranks",
                r->n_drawn);
    size_t most = runs_of(options).most;
    RT_TRY(rt_array_new(most, options->dim * rt_element_size(options->type), &r->piece, err));
    RT_TRY(rt_array_new(most, options->dim * sizeof(float), &r->values, err));
    RT_TRY(rt_array_new((size_t)r->n_drawn, sizeof *r->exponents, &r->exponents, err));
    RT_TRY(rt_array_new((size_t)r->n_drawn, sample->row_bytes, &sample->rows, err));
    sample->owns_rows = true;
done:
    return st;
}

/* The greatest exponent a row may have and vote (C2): 2^16 times the median of the rows'
 * magnitudes, by octaves. Rows of zeros vote but do not count: else a heap half of zeros would
 * leave out all others. */
static int voting_limit(const int64_t *bins)
{
    int64_t n = 0;
    for (int bin = 1; bin < N_BINS; bin++)
        n += bins[bin];
    int64_t below = 0;
    int median = 0;
    for (int bin = 1; bin < N_BINS && 2 * below < n; bin++) {
        below += bins[bin];
        median = bin;
    }
    return n > 0 ? median - BIN_OF_ONE + VOTING_OCTAVES : N_BINS;
}

/* Drops the rows that do not vote; what remains is numbered in row order (D2) and scaled by its
 * largest (C1). */
static void drop_far_rows(struct reading *r, int limit, int *exponent, int64_t *n_far)
{
    struct rt_sample *sample = r->sample;
    size_t kept = 0;
    *exponent = LEAST_EXPONENT;
    *n_far = 0;
    for (size_t i = 0; i < sample->n_local; i++) {
        if (r->exponents[i] > limit) {
            (*n_far)++;
            continue;
        }
        if (r->exponents[i] > *exponent)
            *exponent = r->exponents[i];
        if (kept < i)
            memcpy(sample->rows + kept * sample->row_bytes, sample->rows + i * sample->row_bytes,
                   sample->row_bytes);
        kept++;
    }
    sample->n_local = kept;
}

/* Numbers, totals and the common exponent. Collective. */
static void number_rows(MPI_Comm comm, struct rt_sample *sample)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    uint64_t n = sample->n_local;
    uint64_t before = 0;
    MPI_Exscan(&n, &before, 1, MPI_UINT64_T, MPI_SUM, comm);
    sample->first = rank > 0 ? before : 0; /* rank 0's is undefined */
    MPI_Allreduce(&n, &sample->n_total, 1, MPI_UINT64_T, MPI_SUM, comm);
    MPI_Allreduce(MPI_IN_PLACE, &sample->exponent, 1, MPI_INT, MPI_MAX, comm);
}

static enum rt_status sample_new(const struct rt_sample_options *options, struct rt_sample **out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_sample *sample = NULL;
    RT_TRY(rt_array_zero(1, sizeof *sample, &sample, err));
    sample->dim = sample->row_dim = options->dim;
    sample->metric = options->metric;
    sample->type = options->native ? options->type : RT_F32;
    sample->rotation = options->native ? options->rotation : NULL;
    sample->prepare = options->native && options->metric == RT_COSINE;
    sample->row_bytes = options->dim * rt_element_size(sample->type);
    *out = sample;
done:
    return st;
}

enum rt_status rt_sample_read(MPI_Comm comm, const struct rt_sample_options *options,
                              struct rt_sample **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct reading reading = {.options = options};
    struct rt_sample *sample = NULL;
    int64_t lost[2] = {0, 0};
    RT_LOCAL(sample_new(options, &sample, err));
    reading.sample = sample;
    RT_LOCAL(reading_new(&reading, err));
    RT_LOCAL(read_pieces(&reading, err));
    if (options->have_read)
        options->have_read(options->ctx, st != RT_OK);
    RT_AGREE(comm);
    MPI_Allreduce(MPI_IN_PLACE, reading.bins, N_BINS, MPI_INT64_T, MPI_SUM, comm);
    drop_far_rows(&reading, voting_limit(reading.bins), &sample->exponent, &lost[1]);
    if (sample->n_local < reading.n_drawn)
        RT_LOCAL(rt_array_resize(sample->n_local, sample->row_bytes, &sample->rows, err));
    RT_AGREE(comm);
    lost[0] = reading.n_bad;
    MPI_Allreduce(MPI_IN_PLACE, lost, 2, MPI_INT64_T, MPI_SUM, comm);
    sample->n_bad_total = (uint64_t)lost[0];
    sample->n_far_total = (uint64_t)lost[1];
    number_rows(comm, sample);
    *out = sample;
    sample = NULL;
done:
    rt_array_free(reading.piece);
    rt_array_free(reading.values);
    rt_array_free(reading.exponents);
    rt_sample_free(sample);
    return st;
}

enum rt_status rt_sample_over(MPI_Comm comm, enum rt_metric metric, uint32_t dim, const float *rows,
                              size_t n_local, struct rt_sample **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_sample_options options = {.dim = dim, .type = RT_F32, .metric = metric};
    struct rt_sample *sample = NULL;
    RT_LOCAL(sample_new(&options, &sample, err));
    RT_AGREE(comm);
    memcpy(&sample->rows, &rows, sizeof rows); /* lent: never written, never freed */
    sample->n_local = n_local;
    sample->exponent = LEAST_EXPONENT;
    for (size_t i = 0; i < n_local; i++) {
        int exponent = exponent_of(rows + i * dim, dim);
        sample->exponent = exponent > sample->exponent ? exponent : sample->exponent;
    }
    number_rows(comm, sample);
    *out = sample;
    sample = NULL;
done:
    rt_sample_free(sample);
    return st;
}

void rt_sample_free(struct rt_sample *sample)
{
    if (!sample)
        return;
    if (sample->owns_rows)
        rt_array_free(sample->rows);
    rt_array_free(sample->number);
    rt_array_free(sample);
}

void rt_sample_narrow(struct rt_sample *sample, uint32_t dim)
{
    rt_assert(dim >= 1 && dim <= sample->row_dim);
    sample->dim = dim;
}

/* n rows in buffer, row_dim apart, as kept in their element type or rotated already, made ready. */
static void finish_rows(const struct rt_sample *sample, float *buffer, size_t n)
{
    size_t full = sample->row_dim;
    if (sample->prepare)
        for (size_t i = 0; i < n; i++)
            (void)rt_metric_prepare_row(sample->metric, buffer + i * full,
                                        full); /* judged when read */
    if (sample->rotation)
        rt_rotation_apply(sample->rotation, buffer, n);
    if (sample->dim < full)
        for (size_t i = 1; i < n; i++)
            memmove(buffer + i * sample->dim, buffer + i * full, sample->dim * sizeof *buffer);
}

const float *rt_sample_get(const struct rt_sample *sample, size_t begin, size_t n, float *buffer)
{
    const unsigned char *rows = sample->rows + begin * sample->row_bytes;
    if (sample->type == RT_F32 && !sample->rotation && !sample->prepare &&
        sample->dim == sample->row_dim)
        return (const float *)(const void *)rows;
    rt_element_to_f32(sample->type, rows, buffer, n * sample->row_dim);
    finish_rows(sample, buffer, n);
    return buffer;
}

void rt_sample_gather(const struct rt_sample *sample, const uint32_t *index, size_t n,
                      float *buffer)
{
    size_t full = sample->row_dim;
    for (size_t i = 0; i < n; i++)
        rt_element_to_f32(sample->type, sample->rows + index[i] * sample->row_bytes,
                          buffer + i * full, full);
    finish_rows(sample, buffer, n);
}

/* --- a few rows of all --- */

static int compare_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Numbers that are drawn: sorted, and a bit for each value of their low 16 bits, so that most
 * others are told apart at once. */
struct drawn {
    uint64_t *numbers;
    size_t n;
    uint8_t bits[1 << 13];
};

static bool is_among(const struct drawn *drawn, uint64_t number)
{
    if (!(drawn->bits[number >> 3 & 0x1fff] >> (number & 7) & 1))
        return false;
    return bsearch(&number, drawn->numbers, drawn->n, sizeof number, compare_numbers) != NULL;
}

enum rt_status rt_sample_draw(const struct rt_sample *sample, uint64_t seed,
                              enum rt_purpose purpose, uint32_t n, uint32_t **index,
                              size_t *n_index, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct drawn drawn = {.n = n < sample->n_total ? n : (size_t)sample->n_total};
    RT_TRY(rt_array_new(drawn.n, sizeof *drawn.numbers, &drawn.numbers, err));
    for (size_t i = 0; i < drawn.n; i++) {
        uint64_t number = rt_random_permute(seed, purpose, i, sample->n_total);
        drawn.numbers[i] = number;
        drawn.bits[number >> 3 & 0x1fff] |= (uint8_t)(1u << (number & 7));
    }
    qsort(drawn.numbers, drawn.n, sizeof *drawn.numbers, compare_numbers);
    size_t most = sample->n_local < drawn.n ? sample->n_local : drawn.n;
    RT_TRY(rt_array_new(most, sizeof **index, index, err));
    *n_index = 0;
    for (size_t i = 0; i < sample->n_local; i++)
        if (is_among(&drawn, rt_sample_number(sample, i)))
            (*index)[(*n_index)++] = (uint32_t)i;
done:
    rt_array_free(drawn.numbers);
    return st;
}

uint64_t rt_sample_bytes(uint64_t n_local, uint32_t dim, enum rt_element type, bool native)
{
    return n_local * dim * (native ? rt_element_size(type) : sizeof(float)) +
           n_local * sizeof(uint64_t);
}

uint64_t rt_sample_read_bytes(uint64_t n_local, uint32_t dim, enum rt_element type, bool native)
{
    uint64_t row = (uint64_t)dim * rt_element_size(type);
    uint64_t most = PIECE_BYTES / row > 0 ? PIECE_BYTES / row : 1;
    return rt_sample_bytes(n_local, dim, type, native) + n_local * sizeof(int16_t) +
           most * (row + (uint64_t)dim * sizeof(float));
}
