/* The distributed sort: pairs of all ranks come back in one order, in runs, whatever the room, and
 * no key is worth more than a run; and no rank is taken for one that hangs while it works. */
#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "core/memory.h"
#include "core/random.h"
#include "jobs/phases/pair_sort.h"
#include "mpi/partition.h"
#include "mpi/watchdog.h"

#include <time.h>

static struct rt_error err;

/* A job in a phase, as it sorts. */
struct place {
    struct rt_job job;
    struct rt_phase_context context;
};

static void begin(struct place *p)
{
    *p = (struct place){.job = {.comm = MPI_COMM_WORLD}};
    MPI_Comm_rank(p->job.comm, &p->job.rank);
    MPI_Comm_size(p->job.comm, &p->job.n_ranks);
    p->context = (struct rt_phase_context){.job = &p->job};
    CHECK_OK(rt_progress_new(p->job.comm, NULL, NULL, &p->context.progress, &err));
    rt_progress_begin(p->context.progress, "sort", "pairs", 0);
}

static void end(struct place *p)
{
    CHECK_OK(rt_progress_end(p->context.progress, RT_OK, &err));
    rt_progress_free(p->context.progress);
}

struct trial {
    uint64_t n_keys; /* keys are drawn from 0 .. n_keys - 1 */
    uint64_t n_each;
    int only;    /* the one rank that has pairs; -1: all have */
    uint64_t at; /* of the source */
    uint32_t most_per_key;
    /* of the sink */
    int rank, n_ranks;
    struct rt_pair *out;
    uint64_t n_out, n_calls, largest_run;
    bool is_sorted;
};

static uint64_t n_of(const struct trial *t, int rank)
{
    return t->only < 0 || t->only == rank ? t->n_each : 0;
}

/* Values tell pairs apart. */
static struct rt_pair pair_of(const struct trial *t, int rank, uint64_t i)
{
    uint64_t value = (uint64_t)rank << 32 | i;
    uint64_t drawn = rt_random(3, RT_RANDOM_TEST, value, 0, 0);
    return (struct rt_pair){rt_random_below(drawn, t->n_keys), value};
}

/* Pairs of all ranks that are less. */
static uint64_t n_before(const struct trial *t, struct rt_pair pair)
{
    uint64_t n = 0;
    for (int rank = 0; rank < t->n_ranks; rank++)
        for (uint64_t i = 0; i < n_of(t, rank); i++) {
            struct rt_pair other = pair_of(t, rank, i);
            n += rt_pair_compare(&other, &pair) < 0;
        }
    return n;
}

/* In pieces of uneven size. */
static enum rt_status next(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                           size_t *n, struct rt_error *e)
{
    (void)e;
    struct trial *t = context;
    if (rewind)
        t->at = 0;
    uint64_t left = n_of(t, t->rank) - t->at;
    most = most < 1 + t->at % 1009 ? most : 1 + (size_t)(t->at % 1009);
    *n = left < most ? (size_t)left : most;
    for (size_t i = 0; i < *n; i++)
        pairs[i] = pair_of(t, t->rank, t->at++);
    return RT_OK;
}

/* The run goes on where those before it, on whatever rank, have ended. */
static enum rt_status take(void *context, uint64_t first, const struct rt_pair *pairs, size_t n,
                           struct rt_error *e)
{
    enum rt_status st = RT_OK;
    struct trial *t = context;
    t->n_calls++;
    t->largest_run = n > t->largest_run ? n : t->largest_run;
    RT_TRY(rt_array_resize(t->n_out + n, sizeof *t->out, &t->out, e));
    for (size_t i = 0; i < n; i++) {
        const struct rt_pair *last = t->n_out ? &t->out[t->n_out - 1] : NULL;
        t->is_sorted = t->is_sorted && (!last || rt_pair_compare(last, &pairs[i]) < 0);
        t->out[t->n_out++] = pairs[i];
    }
    if (n)
        CHECK(first == n_before(t, pairs[0]));
done:
    return st;
}

static enum rt_status leave(void *context, uint64_t first, const struct rt_pair *pairs, size_t n,
                            struct rt_error *e)
{
    (void)first;
    (void)pairs;
    (void)e;
    struct trial *t = context;
    t->largest_run = n > t->largest_run ? n : t->largest_run;
    return RT_OK;
}

/* Every pair is there, each once: by the sum of their hashes. */
static void check_trial(struct trial *t, uint64_t room)
{
    struct place p;
    begin(&p);
    t->rank = p.job.rank;
    t->n_ranks = p.job.n_ranks;
    t->is_sorted = true;
    struct rt_pair_sort sort = {.source = next,
                                .sink = take,
                                .context = t,
                                .n_mine = n_of(t, t->rank),
                                .most_per_key = t->most_per_key,
                                .room = room};
    uint64_t sums[2] = {0, 0};
    CHECK_OK(rt_pair_sort(&p.context, &sort, &err));
    end(&p);
    CHECK(t->is_sorted);
    for (uint64_t i = 0; i < n_of(t, t->rank); i++) {
        struct rt_pair pair = pair_of(t, t->rank, i);
        sums[0] += rt_hash64(&pair, sizeof pair);
    }
    for (uint64_t i = 0; i < t->n_out; i++)
        sums[1] += rt_hash64(&t->out[i], sizeof *t->out);
    rt_sum_u64(p.job.comm, sums, 2);
    CHECK(t->most_per_key || sums[0] == sums[1]);
    uint64_t n_calls = t->n_calls;
    rt_max_u64(p.job.comm, &n_calls, 1);
    CHECK(n_calls == t->n_calls); /* once a pass on every rank */
}

static struct trial trial(uint64_t n_keys, uint64_t n_each, uint32_t most_per_key)
{
    return (struct trial){
        .n_keys = n_keys, .n_each = n_each, .only = -1, .most_per_key = most_per_key};
}

RT_TEST("pairs come back in order, each once, in one pass or many, from empty ranks too")
{
    static const uint64_t rooms[] = {0, 500, 60};
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    for (size_t r = 0; r < sizeof rooms / sizeof *rooms; r++)
        for (uint64_t n_keys = 7; n_keys < UINT64_C(1) << 62; n_keys <<= 20)
            for (int only = -1; only < n_ranks; only += n_ranks) { /* all; the last one */
                struct trial t = trial(n_keys, 3000, 0);
                t.only = only;
                check_trial(&t, rooms[r]);
                CHECK(rooms[r] == 0 ? t.n_calls == 1 : t.n_calls > 1);
                CHECK(rooms[r] == 0 || t.largest_run < 4 * rooms[r]);
                rt_array_free(t.out);
            }
}

RT_TEST("nothing at all is sorted as well")
{
    struct trial t = trial(5, 0, 0);
    check_trial(&t, 0);
    CHECK(t.n_out == 0 && t.n_calls == 1);
    rt_array_free(t.out);
}

RT_TEST("one key of all pairs is cut between runs, by value")
{
    struct trial t = trial(1, 3000, 0);
    check_trial(&t, 200);
    CHECK(t.largest_run < 800);
    rt_array_free(t.out);
}

RT_TEST("of a key's pairs only the first are kept, all in one run")
{
    for (uint64_t n_keys = 1; n_keys < 5000; n_keys *= 17) {
        struct trial t = trial(n_keys, 2500, 2);
        check_trial(&t, 300);
        uint64_t n_kept = t.n_out;
        uint64_t n_seen = 0;
        for (uint64_t i = 0; i < t.n_out; i++) {
            CHECK(i < 2 || t.out[i].key != t.out[i - 2].key);
            n_seen += i == 0 || t.out[i].key != t.out[i - 1].key;
        }
        rt_sum_u64(MPI_COMM_WORLD, &n_seen, 1);
        rt_sum_u64(MPI_COMM_WORLD, &n_kept, 1);
        uint64_t n_there = 0; /* keys drawn at all, and how often a key at most counts */
        uint64_t n_wanted = 0;
        int n_ranks = 0;
        MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
        for (uint64_t key = 0; key < n_keys; key++) {
            uint64_t n = 0;
            for (int r = 0; r < n_ranks; r++) {
                for (uint64_t i = 0; i < 2500 && n < 2; i++)
                    n += pair_of(&t, r, i).key == key;
            }
            n_there += n > 0;
            n_wanted += n;
        }
        CHECK(n_seen == n_there); /* no key is in two runs */
        CHECK(n_kept == n_wanted);
        rt_array_free(t.out);
    }
}

/* Room for what comes and leaves, and nothing on top that is not counted. */
RT_TEST("a sort takes the memory that plan counts for it")
{
    int n_ranks = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    for (uint32_t most_per_key = 0; most_per_key <= 2; most_per_key += 2) {
        struct trial t = trial(UINT64_C(1) << 40, 300000, most_per_key);
        struct place p;
        begin(&p);
        t.rank = p.job.rank;
        struct rt_pair_sort sort = {.source = next,
                                    .sink = leave,
                                    .context = &t,
                                    .n_mine = t.n_each,
                                    .most_per_key = most_per_key};
        uint64_t before = rt_memory_now();
        rt_memory_reset_peak();
        CHECK_OK(rt_pair_sort(&p.context, &sort, &err));
        uint64_t taken = rt_memory_peak() - before;
        rt_max_u64(p.job.comm, &taken, 1);
        uint64_t planned = rt_pair_sort_bytes(0, t.n_each * (uint64_t)n_ranks, n_ranks);
        CHECK(taken < planned + planned / 25);
        CHECK(planned < taken + taken / 10);
        CHECK(t.largest_run <= rt_pair_sort_run(0, t.n_each * (uint64_t)n_ranks, n_ranks));
        CHECK(rt_memory_now() == before);
        end(&p);
    }
}

/* ---- one rank is slow, longer in all than a watchdog waits ---- */

#define STALL_SECONDS 1.0
#define SLOW_SECONDS 3.0

struct slow {
    struct rt_phase_context *phase;
    bool is_slow;    /* this rank */
    bool is_sink;    /* there, not at the source */
    uint64_t n_left; /* pieces of the source */
    uint64_t n_pieces;
};

static void sleep_for(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&time, NULL);
}

/* A pair a piece: it is the sort that looks at the others between them. */
static enum rt_status next_slowly(void *context, bool rewind, struct rt_pair *pairs, size_t most,
                                  size_t *n, struct rt_error *e)
{
    (void)most;
    (void)e;
    struct slow *s = context;
    if (rewind)
        s->n_left = s->n_pieces;
    if (s->is_slow && !s->is_sink)
        sleep_for(SLOW_SECONDS / (double)s->n_pieces);
    *n = s->n_left > 0;
    if (*n)
        pairs[0] = (struct rt_pair){--s->n_left, 0};
    return RT_OK;
}

static enum rt_status take_slowly(void *context, uint64_t first, const struct rt_pair *pairs,
                                  size_t n, struct rt_error *e)
{
    (void)first;
    (void)pairs;
    (void)n;
    enum rt_status st = RT_OK;
    struct slow *s = context;
    for (double slept = 0; s->is_slow && s->is_sink && slept < SLOW_SECONDS; slept += 0.1) {
        sleep_for(0.1);
        RT_TRY(rt_phase_check(s->phase, e));
    }
done:
    return st;
}

RT_TEST("ranks that wait for one that works on are patient, and so is the watchdog")
{
    struct rt_world world = {.host = "here", .is_threaded = true};
    struct place p;
    begin(&p);
    world.rank = p.job.rank;
    world.n_ranks = p.job.n_ranks;
    CHECK_OK(rt_watchdog_start(&world, STALL_SECONDS, &err));
    for (int is_sink = 0; is_sink < 2; is_sink++) {
        struct slow s = {.phase = &p.context,
                         .is_slow = p.job.rank == p.job.n_ranks - 1,
                         .is_sink = is_sink,
                         .n_pieces = 30};
        struct rt_pair_sort sort = {
            .source = next_slowly, .sink = take_slowly, .context = &s, .n_mine = s.n_pieces};
        CHECK_OK(rt_pair_sort(&p.context, &sort, &err));
    }
    rt_watchdog_stop();
    end(&p);
}

RT_TEST_MAIN()
