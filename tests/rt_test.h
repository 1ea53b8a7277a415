/* The whole harness: RT_TEST("a sentence") { ... CHECK(a == b); } ... RT_TEST_MAIN() at the end of
 * each test_*.c. MPI tests define RT_TEST_MPI first: a case's verdict is then agreed over all ranks
 * and the failing rank printed. A word after the program's name runs the cases that hold it. */
#ifndef RT_TEST_H
#define RT_TEST_H

#include "core/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef RT_TEST_MPI
#include <mpi.h>
#endif

struct rt_test_case {
    const char *name;
    void (*run)(void);
    struct rt_test_case *next;
};
static struct rt_test_case *rt_test_first, **rt_test_last = &rt_test_first;
static int rt_test_failures;
static int rt_test_rank;

#define RT_TEST_GLUE2(a, b) a##b
#define RT_TEST_GLUE(a, b) RT_TEST_GLUE2(a, b)
#define RT_TEST_AT(sentence, line)                                                                 \
    static void RT_TEST_GLUE(rt_test_run_, line)(void);                                            \
    static struct rt_test_case RT_TEST_GLUE(rt_test_case_, line) = {                               \
        sentence, RT_TEST_GLUE(rt_test_run_, line), NULL};                                         \
    __attribute__((constructor)) static void RT_TEST_GLUE(rt_test_add_, line)(void)                \
    {                                                                                              \
        *rt_test_last = &RT_TEST_GLUE(rt_test_case_, line);                                        \
        rt_test_last = &RT_TEST_GLUE(rt_test_case_, line).next;                                    \
    }                                                                                              \
    static void RT_TEST_GLUE(rt_test_run_, line)(void)
#define RT_TEST(sentence) RT_TEST_AT(sentence, __LINE__)

#define RT_TEST_FAILED(...)                                                                        \
    do {                                                                                           \
        (void)fprintf(stderr, "  rank %d, %s:%d: ", rt_test_rank, __FILE__, __LINE__);             \
        (void)fprintf(stderr, __VA_ARGS__);                                                        \
        (void)fputc('\n', stderr);                                                                 \
        rt_test_failures++;                                                                        \
    } while (0)
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            RT_TEST_FAILED("not so: %s", #condition);                                              \
    } while (0)
/* Ends the case when untrue (what follows would crash). Not in collective cases. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            RT_TEST_FAILED("not so: %s", #condition);                                              \
            return;                                                                                \
        }                                                                                          \
    } while (0)
/* The call must return this status; `err` must be in scope. */
#define CHECK_STATUS(expected, call)                                                               \
    do {                                                                                           \
        enum rt_status rt_test_st = (call);                                                        \
        if (rt_test_st != (expected))                                                              \
            RT_TEST_FAILED("%s gave %d, not %d (%s)", #call, (int)rt_test_st, (int)(expected),     \
                           rt_test_st == RT_OK ? "ok" : err.text);                                 \
    } while (0)
#define CHECK_OK(call) CHECK_STATUS(RT_OK, call)

static int rt_test_main(int argc, char **argv)
{
    int total = 0;
    int bad = 0;
    for (struct rt_test_case *c = rt_test_first; c; c = c->next) {
        if (argc > 1 && !strstr(c->name, argv[1]))
            continue;
        rt_test_failures = 0;
        if (rt_test_rank == 0) {
            (void)printf("%s ... ", c->name); /* before it runs: a crash shows which it was */
            (void)fflush(stdout);
        }
        c->run();
#ifdef RT_TEST_MPI
        MPI_Allreduce(MPI_IN_PLACE, &rt_test_failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
#endif
        total++;
        bad += rt_test_failures != 0;
        if (rt_test_rank == 0)
            (void)printf("%s\n", rt_test_failures ? "FAILED" : "ok");
    }
    if (rt_test_rank == 0)
        (void)printf("%d passed, %d failed\n", total - bad, bad);
    return bad || !total;
}

#ifdef RT_TEST_MPI
#define RT_TEST_MAIN()                                                                             \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        int provided;                                                                              \
        MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);                             \
        MPI_Comm_rank(MPI_COMM_WORLD, &rt_test_rank);                                              \
        int result = rt_test_main(argc, argv);                                                     \
        MPI_Finalize();                                                                            \
        return result;                                                                             \
    }
#else
#define RT_TEST_MAIN()                                                                             \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return rt_test_main(argc, argv);                                                           \
    }
#endif

#endif
