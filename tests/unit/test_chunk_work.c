/* Chunks shared out again: every one that is not done is done once, whatever was done and on
 * however many ranks, and two ranks never share a page. */
#include "tests/rt_test.h"

#include "core/random.h"
#include "jobs/phases/chunk_work.h"

#include <string.h>

#define MOST_CHUNKS 600

/* Does all that is missing on n_ranks, into `done`; checks each run. */
static void do_all(const struct rt_chunk_work *work, int n_ranks, uint64_t *done)
{
    uint64_t end_before = 0;
    uint64_t most = 0;
    for (int rank = 0; rank < n_ranks; rank++) {
        struct rt_range mine = rt_chunk_work_share(work, rank, n_ranks);
        struct rt_chunk_run run;
        uint64_t n = 0;
        CHECK(mine.begin == end_before && mine.end >= mine.begin);
        end_before = mine.end;
        if (mine.begin > 0 && mine.begin < work->chunks.n_chunks) {
            int owner = rt_chunk_owner(&work->chunks, mine.begin, work->layout_ranks);
            uint64_t first = rt_chunks_share(&work->chunks, owner, work->layout_ranks).begin;
            CHECK(work->group ? (mine.begin - first) % work->group == 0 : mine.begin == first);
        }
        for (uint64_t at = mine.begin; rt_chunk_work_next(work, mine.end, &at, &run);) {
            CHECK(run.chunks.end > run.chunks.begin && run.chunks.end <= mine.end);
            for (uint64_t c = run.chunks.begin; c < run.chunks.end; c++) {
                CHECK(!rt_bit_get(done, c));
                CHECK(rt_chunk_owner(&work->chunks, c, work->layout_ranks) == run.layout_rank);
                rt_bit_set(done, c);
                n++;
            }
        }
        most = n > most ? n : most;
    }
    CHECK(end_before == work->chunks.n_chunks);
    uint64_t fair = rt_bits_missing(work->done, work->chunks.n_chunks) / (uint64_t)n_ranks + 1;
    CHECK(!work->group || most <= fair + work->group);
}

RT_TEST("what is missing is done once, in order, in fair parts")
{
    for (uint64_t trial = 0; trial < 400; trial++) {
        uint64_t draws[4];
        for (uint64_t i = 0; i < 4; i++)
            draws[i] = rt_random(1, RT_RANDOM_CHOOSER, trial, i, 0);
        uint64_t n_rows = 1 + draws[0] % (MOST_CHUNKS * 256);
        uint64_t done[MOST_CHUNKS / 64 + 2] = {0};
        struct rt_chunk_work work = {.chunks = rt_chunks_of(n_rows),
                                     .layout_ranks = 1 + (int)(draws[1] % 9),
                                     .group = draws[2] % 4 == 0 ? 0 : UINT64_C(1) << draws[2] % 4};
        uint64_t before[MOST_CHUNKS / 64 + 2];
        for (uint64_t c = 0; c < work.chunks.n_chunks; c++)
            if (rt_random(2, RT_RANDOM_CHOOSER, trial, c / (1 + trial % 7), 0) % 3 == 0)
                rt_bit_set(done, c);
        memcpy(before, done, sizeof done);
        work.done = trial % 5 == 0 ? NULL : before;
        if (!work.done)
            memset(done, 0, sizeof done);
        do_all(&work, 1 + (int)(draws[3] % 9), done);
        CHECK(rt_bits_missing(done, work.chunks.n_chunks) == 0);
    }
}

RT_TEST("without an earlier run a rank has the chunks of its rows")
{
    for (int n_ranks = 1; n_ranks < 12; n_ranks++) {
        struct rt_chunk_work work = {
            .chunks = rt_chunks_of(12345), .layout_ranks = n_ranks, .group = 4};
        for (int rank = 0; rank < n_ranks; rank++) {
            struct rt_range mine = rt_chunk_work_share(&work, rank, n_ranks);
            struct rt_range rows = rt_chunks_share(&work.chunks, rank, n_ranks);
            CHECK(mine.begin == rows.begin && mine.end == rows.end);
        }
    }
}

RT_TEST_MAIN()
