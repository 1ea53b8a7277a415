#include "jobs/phases/chunk_work.h"

#include <stddef.h>

static uint64_t word_of(const uint64_t *bits, uint64_t word, uint64_t n)
{
    uint64_t left = n - 64 * word;
    uint64_t inside = left < 64 ? (UINT64_C(1) << left) - 1 : UINT64_MAX;
    return ~bits[word] & inside;
}

uint64_t rt_bits_missing(const uint64_t *bits, uint64_t n)
{
    uint64_t missing = 0;
    for (uint64_t word = 0; bits && word < rt_bit_words(n); word++)
        missing += (uint64_t)__builtin_popcountll(word_of(bits, word, n));
    return bits ? missing : n;
}

/* The unit that `rank` missing ones stand before; n where there are no more. */
static uint64_t select_missing(const uint64_t *bits, uint64_t n, uint64_t rank)
{
    if (!bits)
        return rank;
    for (uint64_t word = 0; word < rt_bit_words(n); word++) {
        uint64_t missing = word_of(bits, word, n);
        uint64_t count = (uint64_t)__builtin_popcountll(missing);
        if (rank >= count) {
            rank -= count;
            continue;
        }
        for (; rank > 0; rank--)
            missing &= missing - 1;
        return 64 * word + (uint64_t)__builtin_ctzll(missing);
    }
    return n;
}

static struct rt_range layout_chunks(const struct rt_chunk_work *work, uint64_t chunk)
{
    int owner = rt_chunk_owner(&work->chunks, chunk, work->layout_ranks);
    return rt_chunks_share(&work->chunks, owner, work->layout_ranks);
}

static uint64_t border(const struct rt_chunk_work *work, uint64_t n_missing, int rank, int n_ranks)
{
    uint64_t n = work->chunks.n_chunks;
    if (rank == n_ranks)
        return n;
    uint64_t before = rank == 0 ? 0 : rt_share(n_missing, rank - 1, n_ranks, 1).end;
    uint64_t chunk = select_missing(work->done, n, before);
    if (rank == 0 || chunk >= n)
        return rank == 0 ? 0 : n;
    uint64_t first = layout_chunks(work, chunk).begin;
    return work->group ? first + (chunk - first) / work->group * work->group : first;
}

struct rt_range rt_chunk_work_share(const struct rt_chunk_work *work, int rank, int n_ranks)
{
    uint64_t n_missing = rt_bits_missing(work->done, work->chunks.n_chunks);
    return (struct rt_range){border(work, n_missing, rank, n_ranks),
                             border(work, n_missing, rank + 1, n_ranks)};
}

bool rt_chunk_work_next(const struct rt_chunk_work *work, uint64_t end, uint64_t *at,
                        struct rt_chunk_run *run)
{
    while (*at < end && work->done && rt_bit_get(work->done, *at))
        ++*at;
    if (*at >= end)
        return false;
    uint64_t begin = *at;
    uint64_t most = layout_chunks(work, begin).end;
    most = most < end ? most : end;
    while (*at < most && !(work->done && rt_bit_get(work->done, *at)))
        ++*at;
    run->layout_rank = rt_chunk_owner(&work->chunks, begin, work->layout_ranks);
    run->chunks = (struct rt_range){begin, *at};
    return true;
}
