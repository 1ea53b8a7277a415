#define RT_TEST_MPI
#include "jobs/exact.h"

#include "core/random.h"
#include "tests/rt_test.h"

#include <math.h>

#define ROWS 300
#define DIM 19
#define QUERIES 11

static float rows[ROWS * DIM], queries[QUERIES * DIM];
static struct rt_error err;

/* Small whole numbers: many equal distances, and every sum exact in f32. */
static void fill(void)
{
    for (size_t i = 0; i < ROWS * DIM; i++)
        rows[i] = (float)rt_random_below(rt_random(5, RT_RANDOM_TEST, i, 0, 0), 3);
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)rt_random_below(rt_random(5, RT_RANDOM_TEST, i, 1, 0), 3);
}

static float measure(enum rt_metric metric, size_t q, size_t r)
{
    float sum = 0;
    for (size_t i = 0; i < DIM; i++) {
        float a = queries[q * DIM + i];
        float b = rows[r * DIM + i];
        sum += metric == RT_IP ? -a * b : (a - b) * (a - b);
    }
    return sum;
}

/* Place p of query q, found anew each time: the rows before it are those with a lesser (distance,
 * row). */
static void check_answer(enum rt_metric metric, size_t q, const struct rt_hit *hits, uint32_t k)
{
    for (uint32_t p = 0; p < k; p++) {
        if (p >= ROWS) {
            CHECK(hits[p].id == RT_NO_ID && isinf(hits[p].distance));
            continue;
        }
        size_t before = 0;
        for (size_t r = 0; r < ROWS; r++) {
            float d = measure(metric, q, r);
            before += d < hits[p].distance || (d == hits[p].distance && r < hits[p].id);
        }
        CHECK(hits[p].id < ROWS && hits[p].distance == measure(metric, q, hits[p].id));
        CHECK(before == p);
    }
}

static void find(enum rt_metric metric, uint32_t k, bool with_ids)
{
    struct rt_exact *exact = NULL;
    const struct rt_hit *hits = NULL;
    uint64_t ids[ROWS];
    int n_ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    CHECK_OK(rt_exact_new(metric, queries, QUERIES, DIM, k, &exact, &err));
    for (size_t r = 0; r < ROWS; r++)
        ids[r] = r;
    /* pieces of 7 rows, dealt out to the ranks, the last piece first */
    for (size_t piece = (ROWS - 1) / 7 + 1; piece-- > 0;) {
        size_t begin = piece * 7;
        size_t n = ROWS - begin < 7 ? ROWS - begin : 7;
        if ((int)(piece % (size_t)n_ranks) == rt_test_rank)
            rt_exact_add(exact, rows + begin * DIM, n, with_ids ? ids + begin : NULL, begin);
    }
    CHECK_OK(rt_exact_merge(MPI_COMM_WORLD, exact, &hits, &err));
    if (rt_test_rank == 0)
        for (size_t q = 0; q < QUERIES; q++)
            check_answer(metric, q, hits + q * k, k);
    rt_exact_free(exact);
}

RT_TEST("ranks together find what looking at all rows finds, ties by row")
{
    fill();
    for (uint32_t k = 1; k <= 400; k = 3 * k + 1) {
        find(RT_L2, k, false);
        find(RT_IP, k, true);
    }
}

RT_TEST_MAIN()
