/* libranktape: searches indexes that the program ranktape has built, from a program of your own.
 *
 *     struct ranktape_index *index;
 *     char error[RANKTAPE_ERROR_BYTES];
 *     if (ranktape_open("index.rt", NULL, &index, error) != RANKTAPE_OK)
 *         complain(error);
 *     ranktape_search(index, NULL, query, 1, ids, distances, NULL, error);
 *     ranktape_close(index);
 *
 * The answers are those of `ranktape search` on the same index, bit for bit, on any number of
 * threads. The library calls no MPI, before or after MPI_Init alike, prints nothing, starts no
 * thread, changes no environment and ends no process; floating-point modes of the calling thread
 * are put back as they were.
 *
 * Threads: any number may search one index at once, and refresh it meanwhile; only ranktape_close
 * wants to be alone. Open and refresh call HDF5, one thread at a time: a program that itself calls
 * the same HDF5 library from other threads must hold it off meanwhile, unless that library was
 * built to be thread-safe. (An index whose vectors stay in a heap of HDF5 files calls it in
 * searches too.)
 *
 * Files of an index are mapped into memory and read as searches go; they never change. An index may
 * be inserted into, vacuumed and even built anew while it is open: searches keep to the generation
 * they have until ranktape_refresh. Index bytes that do not make sense end in RANKTAPE_DAMAGED. A
 * file that is cut short in place, or lost by a network file system, under a search ends the
 * process with SIGBUS, as with any mapped file; ranktape itself never does that to a file.
 *
 * ABI: structs that a caller fills begin with their own size and only grow at their end;
 * enumerators and functions are only added. What breaks that changes the library's soname. */
#ifndef RANKTAPE_H
#define RANKTAPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RANKTAPE_EXPORT __attribute__((visibility("default")))
#else
#define RANKTAPE_EXPORT
#endif

enum ranktape_status {
    RANKTAPE_OK = 0,
    RANKTAPE_USAGE = 1, /* a wrong argument; no index there, or one of a newer version */
    RANKTAPE_INPUT = 2, /* a query that no row could be (NaN, infinity, zeros under cosine); a heap
                           file that has changed since it was indexed */
    RANKTAPE_DAMAGED = 3, /* a file of the index is damaged */
    RANKTAPE_IO = 4,      /* the file system or HDF5 refused */
    RANKTAPE_NO_MEMORY = 5
};

/* Every `char *error` is NULL or a buffer of this many bytes, which a failure leaves one line in:
 * what failed, on which file, and why. After RANKTAPE_OK it is left alone. */
#define RANKTAPE_ERROR_BYTES 512

#define RANKTAPE_NO_ID UINT64_MAX /* a place in an answer that no row fills */
#define RANKTAPE_MAX_LEVELS 8

enum ranktape_metric {
    RANKTAPE_L2 = 0,    /* distances are squared */
    RANKTAPE_IP = 1,    /* distances are negated inner products */
    RANKTAPE_COSINE = 2 /* distances are 1 - cos */
};
enum ranktape_element { /* of the rows; queries are float always */
                        RANKTAPE_F32 = 0,
                        RANKTAPE_F16 = 1,
                        RANKTAPE_U8 = 2,
                        RANKTAPE_I8 = 3
};

struct ranktape_index;

/* "0.1.0". */
RANKTAPE_EXPORT const char *ranktape_version(void);

struct ranktape_open_options {
    size_t size; /* sizeof(struct ranktape_open_options) */
    /* Where heap files lie now, of an index built with --rerank-in-heap: n_heaps texts "N=PATH" (at
     * most 8), N as the index counts them from 0. */
    const char *const *heaps;
    size_t n_heaps;
};

/* Opens the index that lies in the directory `path`; options may be NULL. The tree of centroids is
 * read and checked at once, lists and vectors are when they are needed. *out is to be closed with
 * ranktape_close; it is left alone by a failure. */
RANKTAPE_EXPORT enum ranktape_status ranktape_open(const char *path,
                                                   const struct ranktape_open_options *options,
                                                   struct ranktape_index **out, char *error);
/* No other call may be running on it. NULL is fine. */
RANKTAPE_EXPORT void ranktape_close(struct ranktape_index *index);

/* Looks whether a new generation has been published, which costs the reading of one line, and opens
 * it if so: *is_new (may be NULL) is then 1, else 0. Searches that run go on in their generation;
 * those that begin afterwards take the new one. After a failure the old one stays open. */
RANKTAPE_EXPORT enum ranktape_status ranktape_refresh(struct ranktape_index *index, int *is_new,
                                                      char *error);

struct ranktape_info {
    size_t size;   /* set by the caller: sizeof(struct ranktape_info) */
    uint64_t rows; /* alive */
    uint64_t generation;
    uint64_t largest_id; /* at least that of every row */
    uint32_t dim;
    uint32_t lists;
    uint32_t metric;  /* enum ranktape_metric */
    uint32_t element; /* enum ranktape_element */
    uint32_t n_levels;
    uint32_t levels[RANKTAPE_MAX_LEVELS]; /* centroids of each, coarse to leaf */
    char digest[36];                      /* 32 hexadecimal digits and a zero */
};
/* Fills the first info->size bytes: what the generation in use holds. */
RANKTAPE_EXPORT void ranktape_get_info(struct ranktape_index *index, struct ranktape_info *info);

struct ranktape_search_options {
    size_t size;   /* sizeof(struct ranktape_search_options) */
    uint32_t k;    /* neighbours of each query, 1 to 1,048,576 */
    float epsilon; /* 0 to 1e6: how wide the error bound of a code is; the larger, the more vectors
                      are measured and the fewer true neighbours missed */
    /* Lists that are visited: one number for the leaves, or one for each level, coarse to leaf;
     * each at least 1, more than there are means all. NULL and 0: ceil(sqrt(lists)). */
    const uint64_t *probes;
    size_t n_probes;
    /* Rows that may be found: non-zero says yes. NULL: all. Called from the thread that searches,
     * for the rows whose code promises enough, so some are never asked about and some twice. Only
     * the lists that are probed are looked through: where few rows are wanted, probe more. */
    int (*filter)(void *context, uint64_t id);
    void *filter_context;
    /* The same as a list of ids, ascending; a row that a filter refuses stays refused. NULL: all.
     */
    const uint64_t *wanted;
    size_t n_wanted;
};
#define RANKTAPE_SEARCH_DEFAULTS                                                                   \
    {                                                                                              \
        sizeof(struct ranktape_search_options), 10, 1.9f, NULL, 0, NULL, NULL, NULL, 0             \
    }

struct ranktape_cost { /* sums over the queries of a call */
    uint64_t lists;    /* lists that have rows, scanned */
    uint64_t rows;     /* codes scanned */
    uint64_t reranked; /* exact distances */
};

/* Finds the k nearest rows of n_queries queries (row-major, dim floats each). options NULL: the
 * defaults above. ids: n_queries x k, nearest first, equal distances by ascending id, filled up
 * with RANKTAPE_NO_ID; distances (may be NULL) likewise, filled up with infinity. cost may be NULL.
 * Many queries in one call take less time each than one by one. What a call needs beside its
 * arguments is kept for the next of the same k, epsilon and probes: no call after the first
 * allocates. After a failure ids and distances hold nothing of use. */
RANKTAPE_EXPORT enum ranktape_status ranktape_search(struct ranktape_index *index,
                                                     const struct ranktape_search_options *options,
                                                     const float *queries, size_t n_queries,
                                                     uint64_t *ids, float *distances,
                                                     struct ranktape_cost *cost, char *error);

#ifdef __cplusplus
}
#endif
#endif
