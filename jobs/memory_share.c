#include "jobs/memory_share.h"

#include "core/units.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void lower(uint64_t *least, uint64_t value)
{
    if (value != 0 && value < *least)
        *least = value;
}

/* A file of one number; "max" and what cannot be read are no limit. */
static void lower_by_file(uint64_t *least, const char *path)
{
    char text[32] = "";
    uint64_t value;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = '\0';
        if (rt_units_parse_count(text, &value) == 0)
            lower(least, value);
    }
    (void)fclose(file);
}

/* The limits of a cgroup and of all above it. Within a container the path may not be there: then
 * the mount itself is the process's group. */
static void lower_by_group(uint64_t *least, const char *mount, const char *group, const char *name)
{
    char path[4096];
    char file[4352];
    int n = snprintf(path, sizeof path, "%s%s", mount, group);
    if (n < 0 || (size_t)n >= sizeof path)
        return;
    for (;;) {
        (void)snprintf(file, sizeof file, "%s/%s", path, name);
        lower_by_file(least, file);
        char *slash = strrchr(path + strlen(mount), '/');
        if (!slash)
            break;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/path" (v2), "9:memory:/path" (v1). */
static void lower_by_cgroups(uint64_t *least, const char *root)
{
    char line[4096];
    char mount[512];
    (void)snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *file = fopen(line, "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        bool is_v1 = strstr(controllers + 1, "memory") != NULL;
        if (!is_v1 && controllers[1] != '\0')
            continue;
        (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, is_v1 ? "/memory" : "");
        lower_by_group(least, mount, group, is_v1 ? "memory.limit_in_bytes" : "memory.max");
    }
    if (file)
        (void)fclose(file);
}

/* MiB, as Slurm writes them; 0 means all of the node. */
static uint64_t mib_of(const char *variable, uint64_t times)
{
    uint64_t mib;
    const char *text = getenv(variable);
    if (!text || rt_units_parse_count(text, &mib) != 0 || mib > UINT64_MAX >> 20)
        return 0;
    return __builtin_mul_overflow(mib << 20, times, &mib) ? 0 : mib;
}

static void lower_by_batch_system(uint64_t *least)
{
    uint64_t cpus;
    const char *text = getenv("SLURM_CPUS_ON_NODE");
    lower(least, mib_of("SLURM_MEM_PER_NODE", 1));
    if (text && rt_units_parse_count(text, &cpus) == 0)
        lower(least, mib_of("SLURM_MEM_PER_CPU", cpus));
}

uint64_t rt_memory_share_of_node(const char *root)
{
    uint64_t least = UINT64_MAX;
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
        lower(&least, (uint64_t)pages * (uint64_t)page);
    lower_by_cgroups(&least, root);
    lower_by_batch_system(&least);
    return least == UINT64_MAX ? 0 : least;
}

uint64_t rt_memory_share_shm(void)
{
    struct statvfs info;
    if (statvfs("/dev/shm", &info) != 0)
        return UINT64_MAX;
    return (uint64_t)info.f_bavail * info.f_frsize;
}
