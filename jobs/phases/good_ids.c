#include "jobs/phases/good_ids.h"

#include "core/memory.h"

#define PIECE_ROWS 1024u

uint64_t rt_good_ids_bytes(uint32_t dim, enum rt_element element)
{
    return PIECE_ROWS *
           (sizeof(uint64_t) + dim * (uint64_t)(rt_element_size(element) + sizeof(float)));
}

enum rt_status rt_good_ids_begin(struct rt_good_ids *good, int rank, int n_ranks,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_chunks chunks = rt_chunks_of(rt_row_source_n_rows(good->source));
    good->mine = rt_chunks_rows(&chunks, rank, n_ranks);
    RT_TRY(rt_array_new(PIECE_ROWS, sizeof *good->ids, &good->ids, err));
    RT_TRY(
        rt_array_new(PIECE_ROWS, good->dim * rt_element_size(good->element), &good->native, err));
    RT_TRY(rt_array_new(PIECE_ROWS, good->dim * sizeof *good->values, &good->values, err));
done:
    return st;
}

void rt_good_ids_end(struct rt_good_ids *good)
{
    rt_array_free(good->ids);
    rt_array_free(good->native);
    rt_array_free(good->values);
    good->ids = NULL;
    good->native = NULL;
    good->values = NULL;
}

enum rt_status rt_good_ids_next(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                                size_t *n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_good_ids *good = context;
    most = most < PIECE_ROWS ? most : PIECE_ROWS;
    if (rewind)
        good->at = good->mine.begin;
    *n = 0;
    while (*n == 0 && good->at < good->mine.end) {
        uint64_t left = good->mine.end - good->at;
        size_t n_read = left < most ? (size_t)left : most;
        RT_TRY(rt_row_source_read_ids(good->source, good->at, n_read, good->ids, err));
        if (good->may_skip) {
            RT_TRY(rt_row_source_read(good->source, good->at, n_read, good->native, err));
            rt_element_to_f32(good->element, good->native, good->values, n_read * good->dim);
        }
        for (size_t i = 0; i < n_read; i++)
            if (!good->may_skip || rt_metric_prepare_row(good->metric, good->values + i * good->dim,
                                                         good->dim) == RT_ROW_GOOD)
                pairs[(*n)++] = (struct rt_pair){.key = good->ids[i]};
        good->at += n_read;
    }
done:
    return st;
}
