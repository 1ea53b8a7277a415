/* Put before every file of a build for SimGrid (preset smpi), where all ranks are coroutines of one
 * thread.
 *
 * - A thread of a rank's own has no place in the simulation: the watchdog and the thread that makes
 * an insertion durable are left out, as nobody waits for either; the one that writes behind
 * (jobs/phases/behind.h) does its work at once.
 * - A look at the clock ends a stretch of measured computing there, which costs more than the work
 * between two looks of a loop that reports its progress: time stands still between calls of MPI
 * instead.
 * - SimGrid 3.32 completes a non-blocking reduction without reducing. Its one user, progress, joins
 * rounds that all ranks join in the same order and sleeps for the result where it needs one: there
 * the reduction is made, and all wait.
 */
#ifndef RT_BENCH_SIMULATED_H
#define RT_BENCH_SIMULATED_H

#define RT_WITHOUT_THREADS

#include <mpi.h>
#include <pthread.h>
#include <time.h>

extern double simgrid_get_clock(void);

static int rt_simulated_has_slept;

static inline int rt_simulated_clock(struct timespec *now)
{
    double seconds = simgrid_get_clock();
    now->tv_sec = (time_t)seconds;
    now->tv_nsec = (long)((seconds - (double)now->tv_sec) * 1e9);
    return 0;
}

static inline int rt_simulated_sleep(const struct timespec *time)
{
    (void)time;
    rt_simulated_has_slept = 1;
    return 0;
}

static struct {
    const void *from;
    void *to;
    int n;
    MPI_Datatype type;
    MPI_Op op;
    MPI_Comm comm;
} rt_simulated_round;

static inline int rt_simulated_test(MPI_Request *request, int *is_complete)
{
    *is_complete = rt_simulated_has_slept;
    rt_simulated_has_slept = 0;
    if (!*is_complete)
        return MPI_SUCCESS;
    *request = MPI_REQUEST_NULL;
    return MPI_Allreduce(rt_simulated_round.from, rt_simulated_round.to, rt_simulated_round.n,
                         rt_simulated_round.type, rt_simulated_round.op, rt_simulated_round.comm);
}

#undef clock_gettime
#define clock_gettime(clock, now) ((void)(clock), rt_simulated_clock(now))
#undef nanosleep
#define nanosleep(time, left) ((void)(left), rt_simulated_sleep(time))
#define MPI_Iallreduce(from_, to_, n_, type_, op_, comm_, request)                                 \
    (rt_simulated_round.from = (from_), rt_simulated_round.to = (to_),                             \
     rt_simulated_round.n = (n_), rt_simulated_round.type = (type_),                               \
     rt_simulated_round.op = (op_), rt_simulated_round.comm = (comm_),                             \
     *(request) = (MPI_Request)&rt_simulated_round)
#define MPI_Test(request, is_complete, status) rt_simulated_test(request, is_complete)
#define pthread_create(thread, attributes, start, argument) ((void)(start), (void)(thread), 0)
#define pthread_join(thread, result) ((void)(thread), 0)

#endif
