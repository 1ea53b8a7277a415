#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "core/memory.h"
#include "core/random.h"
#include "mpi/partition.h"

#include <stdbool.h>

static int n_ranks_now(void)
{
    int n = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    return n;
}

static uint64_t draw(uint64_t a, uint64_t b)
{
    return rt_random(20240, RT_RANDOM_TEST, a, b, 0);
}

RT_TEST("chunks have the sizes the rule gives")
{
    static const struct {
        uint64_t n_rows, n_chunks;
        unsigned shift;
    } known[] = {{0, 0, 8},
                 {1, 1, 8},
                 {256, 1, 8},
                 {257, 2, 8},
                 {1000000, 3907, 8},
                 {UINT64_C(2097151), 8192, 8},
                 {UINT64_C(2097152), 4096, 9},
                 {UINT64_C(268435455), 8192, 15},
                 {UINT64_C(268435456), 4096, 16},
                 {UINT64_C(1000000000), 15259, 16},
                 {UINT64_C(10000000000), 152588, 16}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct rt_chunks chunks = rt_chunks_of(known[i].n_rows);
        CHECK(chunks.n_chunks == known[i].n_chunks && chunks.shift == known[i].shift);
    }
}

RT_TEST("an insert's chunks are few, and none larger than its rows ask for")
{
    static const struct {
        uint64_t n_rows, n_chunks;
        unsigned shift;
    } known[] = {{0, 0, 8},      {1, 1, 8},      {256, 1, 8},    {257, 1, 9},
                 {32769, 1, 16}, {65536, 1, 16}, {65537, 2, 16}, {1000000, 16, 16}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct rt_chunks chunks = rt_chunks_large(known[i].n_rows);
        CHECK(chunks.n_chunks == known[i].n_chunks && chunks.shift == known[i].shift);
    }
}

RT_TEST("shares touch, cover all, differ by at most one unit, and know their owners")
{
    static const uint64_t totals[] = {
        0, 1, 2, 5, 255, 256, 1000003, UINT64_C(10000000000), UINT64_MAX - 5, UINT64_MAX};
    static const int ranks[] = {1, 2, 3, 7, 256, 1000003};
    static const uint64_t units[] = {1, 7, 256, 4096, UINT64_C(1) << 40};
    for (size_t t = 0; t < sizeof totals / sizeof *totals; t++) {
        for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
            for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
                uint64_t total = totals[t];
                int n = ranks[i];
                uint64_t before = 0;
                uint64_t most = 0;
                uint64_t n_units = total / units[u] + (total % units[u] != 0);
                bool is_good = true;
                for (int r = 0; r < n; r = r < 300 || r > n - 300 ? r + 1 : r + 9973) {
                    struct rt_range range = rt_share(total, r, n, units[u]);
                    is_good &= range.begin <= range.end && range.end <= total;
                    is_good &= r >= 300 || range.begin == before;
                    is_good &= range.begin % units[u] == 0 || range.begin == total;
                    uint64_t count =
                        rt_range_count(range) / units[u] + (rt_range_count(range) % units[u] != 0);
                    is_good &= count == n_units / (unsigned)n || count == n_units / (unsigned)n + 1;
                    if (range.begin < range.end) {
                        is_good &= rt_share_owner(total, range.begin, n, units[u]) == r;
                        is_good &= rt_share_owner(total, range.end - 1, n, units[u]) == r;
                    }
                    most = rt_range_count(range) > most ? rt_range_count(range) : most;
                    before = range.end;
                }
                is_good &= rt_share(total, n - 1, n, units[u]).end == total;
                uint64_t largest = rt_share_most(total, n, units[u]);
                is_good &= most <= largest && (n > 300 || largest - most < units[u]);
                if (!is_good)
                    RT_TEST_FAILED("total %llu, %d ranks, unit %llu", (unsigned long long)total, n,
                                   (unsigned long long)units[u]);
            }
        }
    }
}

RT_TEST("a rank's rows are those of its chunks, and each chunk has one owner")
{
    static const uint64_t counts[] = {0, 3, 256, 10007, 1000000, UINT64_C(123456789)};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct rt_chunks chunks = rt_chunks_of(counts[i]);
        for (int n = 1; n <= 9; n++) {
            for (int r = 0; r < n; r++) {
                struct rt_range mine = rt_chunks_share(&chunks, r, n);
                struct rt_range rows = rt_chunks_rows(&chunks, r, n);
                if (mine.begin == mine.end) {
                    CHECK(rt_range_count(rows) == 0);
                    continue;
                }
                CHECK(rows.begin == rt_chunk_rows(&chunks, mine.begin).begin);
                CHECK(rows.end == rt_chunk_rows(&chunks, mine.end - 1).end);
                CHECK(rt_chunk_owner(&chunks, mine.begin, n) == r);
                CHECK(rt_chunk_owner(&chunks, mine.end - 1, n) == r);
            }
        }
    }
}

/* More than one piece, so that cutting is tested. */
#define N_LONG (RT_PIECE_BYTES / 8 * 2 + 12345)

RT_TEST("prefix sums and sums over ranks hold for arrays longer than a piece")
{
    int n_ranks = n_ranks_now();
    struct rt_error err;
    uint64_t *values = NULL;
    uint64_t *before = NULL;
    CHECK_OK(rt_array_new(N_LONG, sizeof *values, &values, &err));
    CHECK_OK(rt_array_new(N_LONG, sizeof *before, &before, &err));
    for (size_t i = 0; i < N_LONG; i++)
        values[i] = i * 1000 + (unsigned)rt_test_rank + 1;
    rt_exscan_u64(MPI_COMM_WORLD, values, before, N_LONG);
    rt_sum_u64(MPI_COMM_WORLD, values, N_LONG);
    size_t n_bad = 0;
    uint64_t r = (unsigned)rt_test_rank;
    uint64_t n = (unsigned)n_ranks;
    for (size_t i = 0; i < N_LONG; i++) {
        n_bad += before[i] != i * 1000 * r + r * (r + 1) / 2;
        n_bad += values[i] != i * 1000 * n + n * (n + 1) / 2;
    }
    CHECK(n_bad == 0);
    uint64_t one = 5;
    rt_exscan_u64(MPI_COMM_WORLD, &one, &one, 1); /* in place */
    CHECK(one == 5 * r);
    rt_array_free(values);
    rt_array_free(before);
}

RT_TEST("negative sums, least and greatest of all ranks")
{
    int n = n_ranks_now();
    int64_t sum[2] = {INT64_C(-5000000000) * (rt_test_rank + 1), rt_test_rank};
    rt_sum_i64(MPI_COMM_WORLD, sum, 2);
    CHECK(sum[0] == INT64_C(-2500000000) * n * (n + 1) && sum[1] == (int64_t)n * (n - 1) / 2);
    uint64_t most = UINT64_MAX - (unsigned)rt_test_rank;
    uint64_t least = most;
    rt_max_u64(MPI_COMM_WORLD, &most, 1);
    rt_min_u64(MPI_COMM_WORLD, &least, 1);
    CHECK(most == UINT64_MAX && least == UINT64_MAX - (unsigned)(n - 1));
    float largest = -1.5f * (float)(n - rt_test_rank);
    rt_max_f32(MPI_COMM_WORLD, &largest, 1);
    CHECK(largest == -1.5f);
}

/* Part sizes that are unlike: empty, one, many. */
static uint64_t part_of(int rank, uint64_t scale)
{
    return rank % 3 == 0 ? 0 : rank % 3 == 1 ? scale + 1 : 1;
}

RT_TEST("reduce-scatter gives each rank the sum of its part, whatever the parts")
{
    int n_ranks = n_ranks_now();
    struct rt_error err;
    static const uint64_t scales[] = {0, 10, RT_PIECE_BYTES / 8 + 7};
    for (size_t s = 0; s < 3; s++) {
        uint64_t counts[16];
        uint64_t total = 0;
        uint64_t begin = 0;
        for (int r = 0; r < n_ranks; r++) {
            counts[r] = part_of(r + (int)s, scales[s]);
            begin += r < rt_test_rank ? counts[r] : 0;
            total += counts[r];
        }
        int64_t *in = NULL;
        int64_t *out = NULL;
        void *scratch = NULL;
        CHECK_OK(rt_array_new(total, sizeof *in, &in, &err));
        CHECK_OK(rt_array_new(counts[rt_test_rank], sizeof *out, &out, &err));
        CHECK_OK(rt_array_new(rt_reduce_scatter_bytes(n_ranks), 1, &scratch, &err));
        for (uint64_t i = 0; i < total; i++)
            in[i] = (int64_t)i * (rt_test_rank % 2 ? -3 : 1) - rt_test_rank;
        rt_reduce_scatter_i64(MPI_COMM_WORLD, in, out, counts, scratch);
        size_t n_bad = 0;
        int64_t factor = 0;
        for (int r = 0; r < n_ranks; r++)
            factor += r % 2 ? -3 : 1;
        for (uint64_t i = 0; i < counts[rt_test_rank]; i++)
            n_bad += out[i] != (int64_t)(begin + i) * factor - (int64_t)n_ranks * (n_ranks - 1) / 2;
        CHECK(n_bad == 0);
        rt_reduce_scatter_i64(MPI_COMM_WORLD, in, in + begin, counts,
                              scratch); /* into its own part */
        CHECK(memcmp(in + begin, out, counts[rt_test_rank] * sizeof *out) == 0);
        rt_array_free(in);
        rt_array_free(out);
        rt_array_free(scratch);
    }
}

RT_TEST("every rank gathers all parts, and a broadcast reaches all, in pieces")
{
    int n_ranks = n_ranks_now();
    struct rt_error err;
    static const uint64_t scales[] = {0, 1000, RT_PIECE_BYTES + 3};
    for (size_t s = 0; s < 3; s++) {
        uint64_t counts[16];
        uint64_t total = 0;
        uint64_t begin = 0;
        for (int r = 0; r < n_ranks; r++) {
            counts[r] = part_of(r + 1 + (int)s, scales[s]);
            begin += r < rt_test_rank ? counts[r] : 0;
            total += counts[r];
        }
        unsigned char *all = NULL;
        unsigned char *mine = NULL;
        CHECK_OK(rt_array_zero(total, 1, &all, &err));
        CHECK_OK(rt_array_new(counts[rt_test_rank], 1, &mine, &err));
        for (uint64_t i = 0; i < counts[rt_test_rank]; i++)
            mine[i] = (unsigned char)draw(begin + i, s);
        for (int is_in_place = 0; is_in_place < 2; is_in_place++) {
            memset(all, 0, total);
            if (is_in_place)
                memcpy(all + begin, mine, counts[rt_test_rank]);
            rt_allgatherv_bytes(MPI_COMM_WORLD, is_in_place ? all + begin : mine, all, counts);
            size_t n_bad = 0;
            for (uint64_t i = 0; i < total; i++)
                n_bad += all[i] != (unsigned char)draw(i, s);
            CHECK(n_bad == 0);
        }
        if (rt_test_rank != n_ranks - 1)
            memset(all, 0, total);
        rt_bcast_bytes(MPI_COMM_WORLD, all, total, n_ranks - 1);
        size_t n_bad = 0;
        for (uint64_t i = 0; i < total; i++)
            n_bad += all[i] != (unsigned char)draw(i, s);
        CHECK(n_bad == 0);
        rt_array_free(all);
        rt_array_free(mine);
    }
}

RT_TEST_MAIN()
