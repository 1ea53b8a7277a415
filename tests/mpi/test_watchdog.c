/* One rank hangs in a way named by the first argument; the watchdog must end the job. watchdog.sh
 * judges. With `none` nobody hangs for longer than allowed, and the job must end by itself. */
#include "mpi/agree.h"
#include "mpi/progress.h"
#include "mpi/watchdog.h"

#include <signal.h>
#include <string.h>
#include <time.h>

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

static void hang(const char *way, struct rt_progress *p)
{
    if (strcmp(way, "sleep") == 0) /* a file system that does not answer */
        for (;;)
            sleep_ms(1000);
    if (strcmp(way, "stop") == 0 || strcmp(way, "freeze") == 0) /* its watchdog too */
        (void)raise(SIGSTOP);
    if (strcmp(way, "none") == 0) /* long, but allowed */
        for (int i = 0; i < 12; i++) {
            sleep_ms(250);
            (void)rt_progress_tick(p);
        }
}

int main(int argc, char **argv)
{
    struct rt_world world;
    struct rt_error err;
    struct rt_progress *p = NULL;
    const char *way = argc > 1 ? argv[1] : "none";
    enum rt_status st = rt_world_begin(&argc, &argv, false, &world, &err);
    RT_LOCAL(rt_watchdog_start(&world, 1.5, &err));
    st = rt_agree(world.all, st, &err);
    if (st == RT_OK) {
        sleep_ms(2000); /* before the first phase nothing is watched */
        st = rt_progress_new(world.all, NULL, NULL, &p, &err);
    }
    if (st == RT_OK) {
        rt_watchdog_set_phase("insert");
        rt_progress_begin(p, "insert", "rows", 0);
        if (world.rank == world.n_ranks - 1)
            hang(way, p);
        for (int i = 0; i < (strcmp(way, "stop") == 0 ? 1000 : 20); i++) {
            sleep_ms(20);
            (void)rt_progress_tick(p);
        }
        if (strcmp(way, "barrier") == 0 && world.rank != world.n_ranks - 1)
            MPI_Barrier(world.all);
        st = rt_progress_end(p, st, &err);
        rt_progress_free(p);
        sleep_ms(2000); /* nor after the last */
    }
    rt_watchdog_stop();
    rt_world_end(&world);
    return st != RT_OK;
}
