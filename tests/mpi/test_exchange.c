#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "core/memory.h"
#include "core/random.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <inttypes.h>
#include <time.h>

#define MAX_RANKS 16

static int n_ranks_now(void)
{
    int n = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n);
    return n;
}

struct record {
    uint32_t from, to;
    uint64_t number;
    uint64_t content;
};

/* What a rank sends and has received. */
struct traffic {
    uint64_t n_for[MAX_RANKS]; /* records to send */
    uint64_t sent[MAX_RANKS];
    uint64_t taken[MAX_RANKS];
    uint64_t seed;
    uint64_t n_calls;        /* of either callback */
    uint64_t fail_at_source; /* this call of the source fails; 0: none */
    uint64_t fail_at_sink;
    uint64_t n_source, n_sink;
    uint64_t n_wrong;
    bool has_failed;
    uint64_t n_after_failure;
};

static uint64_t content_of(uint64_t seed, uint32_t from, uint32_t to, uint64_t number)
{
    return rt_random(seed, RT_RANDOM_TEST, from, to, number);
}

static enum rt_status give(void *context, int to, void *buffer, size_t capacity, size_t *n_bytes,
                           bool *more, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct traffic *t = context;
    t->n_after_failure += t->has_failed;
    if (++t->n_source == t->fail_at_source) {
        t->has_failed = true;
        RT_FAIL(RT_IO, "the source of rank %d fails", rt_test_rank);
    }
    size_t n = 0;
    size_t most = capacity / sizeof(struct record);
    if (t->n_source % 3 == 0 && most > 1) /* now and then a piece that is not full, or empty */
        most = t->n_source % 2 ? 0 : most / 2;
    for (; n < most && t->sent[to] < t->n_for[to]; n++) {
        struct record record = {
            (uint32_t)rt_test_rank, (uint32_t)to, t->sent[to],
            content_of(t->seed, (uint32_t)rt_test_rank, (uint32_t)to, t->sent[to])};
        memcpy((char *)buffer + n * sizeof record, &record, sizeof record);
        t->sent[to]++;
    }
    *n_bytes = n * sizeof(struct record);
    *more = t->sent[to] < t->n_for[to];
done:
    return st;
}

static enum rt_status keep(void *context, int from, const void *bytes, size_t n_bytes,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct traffic *t = context;
    t->n_after_failure += t->has_failed;
    if (++t->n_sink == t->fail_at_sink) {
        t->has_failed = true;
        RT_FAIL(RT_NOMEM, "the sink of rank %d fails", rt_test_rank);
    }
    t->n_wrong +=
        n_bytes == 0 || n_bytes % sizeof(struct record) != 0 || (uintptr_t)bytes % 16 != 0;
    for (size_t at = 0; at + sizeof(struct record) <= n_bytes; at += sizeof(struct record)) {
        struct record record;
        memcpy(&record, (const char *)bytes + at, sizeof record);
        t->n_wrong += record.from != (uint32_t)from || record.to != (uint32_t)rt_test_rank;
        t->n_wrong += record.number != t->taken[from]++; /* in order */
        t->n_wrong += record.content != content_of(t->seed, record.from, record.to, record.number);
    }
done:
    return st;
}

/* Records of `from` for `to` in pattern p: random, skewed to one rank, none, ring, self only.
 * `most` is about what the busiest pair sends. */
static uint64_t records_of(int pattern, uint64_t most, int from, int to, int n_ranks)
{
    switch (pattern) {
    case 0:
        return rt_random_below(rt_random(7, RT_RANDOM_TEST, (unsigned)from, (unsigned)to, 1), most);
    case 1:
        return to == n_ranks - 1 ? most : 0;
    case 2:
        return 0;
    case 3:
        return to == (from + 1) % n_ranks ? most : 0;
    default:
        return to == from ? most : 0;
    }
}

static void run_pattern(struct rt_exchange *exchange, int pattern, uint64_t most, bool tells_counts)
{
    struct rt_error err;
    int n_ranks = n_ranks_now();
    struct traffic t = {.seed = (unsigned)pattern};
    for (int r = 0; r < n_ranks; r++)
        t.n_for[r] = records_of(pattern, most, rt_test_rank, r, n_ranks);
    CHECK_OK(rt_exchange_round(exchange, tells_counts ? t.n_for : NULL, give, keep, &t, &err));
    CHECK(t.n_wrong == 0);
    for (int r = 0; r < n_ranks; r++) {
        CHECK(t.sent[r] == t.n_for[r]);
        CHECK(t.taken[r] == records_of(pattern, most, r, rt_test_rank, n_ranks));
        if (tells_counts && pattern == 2)
            CHECK(t.n_source == 0); /* who has nothing is not asked */
    }
}

RT_TEST("every record reaches its owner once and in order, whatever the pattern and the size of a "
        "piece")
{
    static const size_t pieces[] = {24, 1000, 0};
    static const uint64_t most[] = {12, 500, 120000}; /* about ten pieces, and over two of 1 MiB */
    for (size_t i = 0; i < 3; i++) {
        struct rt_error err;
        struct rt_exchange *exchange = NULL;
        CHECK_OK(rt_exchange_new(MPI_COMM_WORLD, pieces[i], &exchange, &err));
        for (int pattern = 0; pattern < 5; pattern++) {
            run_pattern(exchange, pattern, most[i], false);
            run_pattern(exchange, pattern, most[i], true);
        }
        rt_exchange_free(exchange);
    }
}

/* After a failure the exchange must still work. */
static void run_failure(struct rt_exchange *exchange, int bad, uint64_t call, bool in_source)
{
    struct rt_error err;
    int n_ranks = n_ranks_now();
    struct traffic t = {.seed = 99};
    for (int r = 0; r < n_ranks; r++)
        t.n_for[r] = 100;
    if (rt_test_rank == bad && in_source)
        t.fail_at_source = call;
    if (rt_test_rank == bad && !in_source)
        t.fail_at_sink = call;
    enum rt_status st = rt_exchange_round(exchange, NULL, give, keep, &t, &err);
    int hit = t.has_failed;
    MPI_Bcast(&hit, 1, MPI_INT, bad, MPI_COMM_WORLD);
    CHECK(hit); /* else the test tests nothing */
    CHECK(st == (in_source ? RT_IO : RT_NOMEM));
    CHECK(err.rank == bad && strstr(err.text, in_source ? "source" : "sink"));
    CHECK(t.n_after_failure == 0 && t.n_wrong == 0);
}

RT_TEST(
    "a callback that fails on any rank at any time ends the round on all, and the next round works")
{
    struct rt_error err;
    struct rt_exchange *exchange = NULL;
    CHECK_OK(rt_exchange_new(MPI_COMM_WORLD, 240, &exchange, &err));
    for (int bad = 0; bad < n_ranks_now(); bad++) {
        for (uint64_t call = 1; call <= 9; call += 4) {
            run_failure(exchange, bad, call, true);
            run_failure(exchange, bad, call, false);
            run_pattern(exchange, 0, 50, true);
        }
    }
    rt_exchange_free(exchange);
}

RT_TEST("when all ranks fail at once the first one's message is told")
{
    struct rt_error err;
    struct rt_exchange *exchange = NULL;
    CHECK_OK(rt_exchange_new(MPI_COMM_WORLD, 240, &exchange, &err));
    struct traffic t = {.fail_at_source = 1};
    CHECK_STATUS(RT_IO, rt_exchange_round(exchange, NULL, give, keep, &t, &err));
    CHECK(err.rank == 0);
    rt_exchange_free(exchange);
}

RT_TEST("memory of an exchange is what the planner is told")
{
    struct rt_error err;
    struct rt_exchange *exchange = NULL;
    size_t before = rt_memory_now();
    CHECK_OK(rt_exchange_new(MPI_COMM_WORLD, 0, &exchange, &err));
    size_t grown = rt_memory_now() - before;
    size_t planned = rt_exchange_bytes(n_ranks_now(), 0);
    CHECK(grown >= planned && grown <= planned + 4096);
    rt_exchange_free(exchange);
    CHECK(rt_memory_now() == before);
}

RT_TEST_MAIN()
