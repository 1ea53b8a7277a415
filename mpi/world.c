#include "mpi/world.h"

#include "core/fault.h"
#include "core/memory.h"
#include "mpi/agree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_BESIDE_PEERS                                                                         \
    256 /* J4: one socket a peer, and this for files, libraries and the launcher */
/* Before the number of ranks is known. Not the whole hard limit: where that is a billion, whatever
 * closes all possible files before it starts another program takes minutes. */
#define FILES_AT_START 65536

static void end_job(void)
{
    int is_on = 0;
    int is_over = 0;
    MPI_Initialized(&is_on);
    MPI_Finalized(&is_over);
    if (is_on && !is_over)
        MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Raises the soft limit towards `wanted`; returns the limit in force. */
static uint64_t raise_open_files(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return UINT64_MAX;
    if (limit.rlim_cur < limit.rlim_max && limit.rlim_cur < wanted) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = before;
    }
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}

static long number_in(const char *variable)
{
    const char *text = getenv(variable);
    if (!text || !*text)
        return -1;
    char *rest = NULL;
    errno = 0;
    long value = strtol(text, &rest, 10);
    return errno != 0 || *rest != '\0' ? -1 : value;
}

/* A launcher says how many ranks it started, and which of them this is. The innermost one counts:
 * under Slurm, mpirun's own helpers are a step, whose number of tasks says nothing of the ranks. */
static const struct launcher {
    const char *name, *size, *place;
} launchers[] = {
    {"mpirun of Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
    {"mpiexec of MPICH", "PMI_SIZE", "PMI_RANK"},
    {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},
};

static enum rt_status check_launcher(struct rt_world *world, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (world->n_ranks > 1)
        goto done;
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        long size = number_in(launchers[i].size);
        if (size < 0)
            continue;
        if (size > 1) {
            world->speaks = number_in(launchers[i].place) <= 0;
            RT_FAIL(RT_USAGE,
                    "MPI was not started by this launcher: %s started %ld processes, but each is "
                    "alone; %s",
                    launchers[i].name, size,
                    i == 2 ? "try srun --mpi=pmix with Open MPI, --mpi=pmi2 with MPICH "
                             "(srun --mpi=list shows what there is), or mpirun"
                           : "use the mpirun that belongs to the MPI this program was built with");
        }
        break;
    }
done:
    return st;
}

static enum rt_status check_open_files(int n_ranks, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t wanted = (uint64_t)n_ranks + FILES_BESIDE_PEERS;
    uint64_t limit = raise_open_files(wanted);
    if (n_ranks > 1 && limit < wanted)
        RT_FAIL(RT_USAGE,
                "%d ranks need %llu open files each, the hard limit here is %llu; raise it (ulimit "
                "-Hn) "
                "or use fewer ranks",
                n_ranks, (unsigned long long)wanted, (unsigned long long)limit);
done:
    return st;
}

static void find_neighbours(struct rt_world *world)
{
    MPI_Comm_dup(MPI_COMM_WORLD, &world->all); /* the one place below main that names the world */
    MPI_Comm_rank(world->all, &world->rank);
    MPI_Comm_size(world->all, &world->n_ranks);
    MPI_Comm_split_type(world->all, MPI_COMM_TYPE_SHARED, world->rank, MPI_INFO_NULL, &world->node);
    MPI_Comm_rank(world->node, &world->node_rank);
    MPI_Comm_size(world->node, &world->node_size);
    int color = world->node_rank == 0 ? 0 : MPI_UNDEFINED;
    MPI_Comm_split(world->all, color, world->rank, &world->leaders);
    int place[2] = {0, 0};
    if (world->leaders != MPI_COMM_NULL) {
        MPI_Comm_rank(world->leaders, &place[0]);
        MPI_Comm_size(world->leaders, &place[1]);
    }
    MPI_Bcast(place, 2, MPI_INT, 0, world->node);
    world->node_index = place[0];
    world->n_nodes = place[1];
    MPI_Allreduce(&world->node_size, &world->max_node_size, 1, MPI_INT, MPI_MAX, world->all);
}

enum rt_status rt_world_begin(int *argc, char ***argv, bool uses_mpio, struct rt_world *world,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    int provided = 0;
    memset(world, 0, sizeof *world);
    if (uses_mpio)
        (void)setenv("OMPI_MCA_fcoll", "^vulcan", 0);
    (void)raise_open_files(FILES_AT_START);
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided);
    world->is_threaded = provided == MPI_THREAD_MULTIPLE;
    rt_die_install(end_job);
    if (gethostname(world->host, sizeof world->host) != 0)
        (void)snprintf(world->host, sizeof world->host, "unknown");
    world->host[sizeof world->host - 1] = '\0';
    find_neighbours(world);
    rt_fault_set_rank(world->rank);
    world->speaks = world->rank == 0;
    RT_LOCAL(check_launcher(world, err));
    RT_LOCAL(check_open_files(world->n_ranks, err));
    RT_AGREE(world->all);
done:
    return st;
}

void rt_world_end(struct rt_world *world)
{
    if (world->leaders != MPI_COMM_NULL)
        MPI_Comm_free(&world->leaders);
    MPI_Comm_free(&world->node);
    MPI_Comm_free(&world->all);
    MPI_Finalize();
}

void rt_world_host_of(const struct rt_world *world, int rank, char host[RT_MAX_HOST])
{
    if (rank < 0 || rank >= world->n_ranks)
        rank = 0;
    memcpy(host, world->host, RT_MAX_HOST);
    MPI_Bcast(host, RT_MAX_HOST, MPI_CHAR, rank, world->all);
    host[RT_MAX_HOST - 1] = '\0';
}

struct rt_rss rt_rss_read(void)
{
    struct rt_rss rss = {0, 0, 0};
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (!value)
            continue;
        uint64_t bytes = strtoull(value + 1, NULL, 10) * 1024;
        if (strncmp(line, "RssAnon:", 8) == 0)
            rss.anonymous = bytes;
        else if (strncmp(line, "VmRSS:", 6) == 0)
            rss.resident = bytes;
        else if (strncmp(line, "VmHWM:", 6) == 0)
            rss.peak = bytes;
    }
    if (file)
        (void)fclose(file);
    return rss;
}
