#include "jobs/phases/block_places.h"

#include "core/find.h"
#include "core/memory.h"
#include "jobs/phases/chunk_work.h"

enum rt_status rt_block_places_begin(uint64_t n_blocks, uint64_t share_blocks, const uint64_t *done,
                                     struct rt_block_places *places, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_block_places p = {.n_blocks = n_blocks,
                                .share_blocks = share_blocks,
                                .n_granules = (n_blocks + share_blocks - 1) / share_blocks,
                                .n_places = n_blocks};
    if (done) {
        RT_TRY(rt_array_zero((size_t)p.n_granules + 1, sizeof *p.missing_before, &p.missing_before,
                             err));
        for (uint64_t g = 0; g < p.n_granules; g++)
            p.missing_before[g + 1] = p.missing_before[g] + !rt_bit_get(done, g);
        p.n_places = p.missing_before[p.n_granules] * share_blocks;
        if (n_blocks && rt_block_is_missing(&p, n_blocks - 1)) /* the last, which may be short */
            p.n_places -= p.n_granules * share_blocks - n_blocks;
    }
    *places = p;
done:
    return st;
}

void rt_block_places_end(struct rt_block_places *places)
{
    rt_array_free(places->missing_before);
    places->missing_before = NULL;
}

uint64_t rt_block_at_place(const struct rt_block_places *places, uint64_t place)
{
    if (!places->missing_before)
        return place;
    uint64_t granule = rt_find_last(places->missing_before, sizeof *places->missing_before,
                                    (size_t)places->n_granules, place / places->share_blocks);
    return granule * places->share_blocks + place % places->share_blocks;
}

struct rt_range rt_block_places_share(const struct rt_block_places *places, int rank, int n_ranks)
{
    return rt_share(places->n_places, rank, n_ranks, places->share_blocks);
}

struct rt_range rt_block_places_window(const struct rt_block_places *places, int rank, int n_ranks,
                                       uint64_t window_blocks, uint64_t round)
{
    struct rt_range share = rt_block_places_share(places, rank, n_ranks);
    uint64_t before = round * window_blocks;
    uint64_t n = rt_range_count(share);
    uint64_t begin = share.begin + (before < n ? before : n);
    uint64_t left = share.end - begin;
    return (struct rt_range){begin, begin + (left < window_blocks ? left : window_blocks)};
}
