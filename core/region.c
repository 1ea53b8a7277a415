#define _GNU_SOURCE /* mremap */
#include "core/region.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

#define PAGE ((size_t)65536) /* the largest there are, so that any system can cut there */
#define MOST_REGIONS 64

struct region {
    char *at;
    size_t bytes;
};

static struct {
    pthread_mutex_t lock;
    size_t n, bytes;
    struct region of[MOST_REGIONS];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static struct region remove_at(size_t i)
{
    struct region region = kept.of[i];
    kept.of[i] = kept.of[--kept.n];
    kept.bytes -= region.bytes;
    return region;
}

/* Regions that touch become one: they were parts of a larger one. One too many goes. */
static void add(struct region region)
{
    for (size_t i = kept.n; i-- > 0;) {
        struct region *other = &kept.of[i];
        bool follows = other->at + other->bytes == region.at;
        if (follows || region.at + region.bytes == other->at) {
            region.at = follows ? other->at : region.at;
            region.bytes += remove_at(i).bytes;
        }
    }
    if (kept.n == MOST_REGIONS) {
        munmap(region.at, region.bytes);
        return;
    }
    kept.of[kept.n++] = region;
    kept.bytes += region.bytes;
}

/* The largest ones go first, and of the last no more than is needed. */
static void shrink(size_t most_kept)
{
    while (kept.bytes > most_kept) {
        size_t largest = 0;
        for (size_t i = 1; i < kept.n; i++)
            if (kept.of[i].bytes > kept.of[largest].bytes)
                largest = i;
        struct region gone = remove_at(largest);
        size_t excess = whole_pages(
            kept.bytes + gone.bytes > most_kept ? kept.bytes + gone.bytes - most_kept : 0);
        if (gone.bytes > excess) {
            add((struct region){gone.at, gone.bytes - excess});
            gone.at += gone.bytes - excess;
            gone.bytes = excess;
        }
        munmap(gone.at, gone.bytes);
    }
}

/* The smallest that is large enough, else the largest. */
static size_t best_for(size_t bytes)
{
    size_t best = 0;
    for (size_t i = 1; i < kept.n; i++) {
        size_t this = kept.of[i].bytes;
        size_t that = kept.of[best].bytes;
        if (that < bytes ? this > that : this >= bytes && this < that)
            best = i;
    }
    return best;
}

static void *mapped(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void *grown(struct region region, size_t bytes)
{
    void *at = mremap(region.at, region.bytes, bytes, MREMAP_MAYMOVE);
    if (at != MAP_FAILED)
        return at;
    munmap(region.at, region.bytes); /* of two mappings, for example, which do not grow */
    return mapped(bytes);
}

void *rt_region_take(size_t bytes, size_t most_kept)
{
    struct region region = {NULL, 0};
    bytes = whole_pages(bytes);
    pthread_mutex_lock(&kept.lock);
    if (kept.n > 0)
        region = remove_at(best_for(bytes));
    if (region.bytes > bytes)
        add((struct region){region.at + bytes, region.bytes - bytes});
    shrink(most_kept);
    pthread_mutex_unlock(&kept.lock);
    if (region.bytes >= bytes)
        return region.at;
    return region.at ? grown(region, bytes) : mapped(bytes);
}

void rt_region_give(void *region, size_t bytes, size_t most_kept)
{
    pthread_mutex_lock(&kept.lock);
    add((struct region){region, whole_pages(bytes)});
    shrink(most_kept);
    pthread_mutex_unlock(&kept.lock);
}

void rt_region_keep(size_t most_kept)
{
    pthread_mutex_lock(&kept.lock);
    shrink(most_kept);
    pthread_mutex_unlock(&kept.lock);
}
