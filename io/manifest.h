/* manifest-G.json: what a generation consists of; CURRENT, which names it with its hash. Reading
 * checks every field: whatever is in the file, the answer is a manifest or RT_DAMAGED. Tables in
 * docs/format.md, "manifest". */
#ifndef RT_IO_MANIFEST_H
#define RT_IO_MANIFEST_H

#include "core/checksum.h"
#include "core/element.h"
#include "core/error.h"
#include "core/metric.h"
#include "core/tree.h"
#include "io/format.h"
#include "io/hdf5_map.h"
#include "io/lock.h"
#include "io/rows.h"

#include <jansson.h>

struct rt_manifest_file {
    enum rt_file_kind kind;
    uint64_t number; /* generation in its name */
    uint64_t size;
    uint64_t rows; /* live and unused entries: records, rows in lists, slots in use, leaves; for
                      people */
    struct rt_h5_hashes hashes;
    bool is_pair; /* appendable files only: its records' vectors are those of the vectors file of
                     its number, and no frozen list knows their places (H3) */
    uint32_t n_ranges; /* bytes that `structure` leaves out, ascending and apart: */
    struct rt_h5_range ranges[2 * RT_H5_MAX_DATASETS];
};
struct rt_manifest_heap { /* one file of the rows that were indexed */
    char *path, *dataset; /* dataset may be NULL */
    uint64_t first_row, n_rows, size_bytes;
    int64_t mtime_ns;
    bool may_grow; /* --concurrent, the last of its own heap: there may be more behind its rows */
};
struct rt_manifest {
    uint32_t version;
    uint64_t generation;
    struct rt_hash128 fingerprint, tree_hash, rows_hash, digest;

    uint32_t dim;
    enum rt_metric metric;
    enum rt_element element;
    bool residual, spherical, rerank_in_heap;
    uint64_t rotation_seed;
    uint32_t rotation_version;
    uint32_t n_levels, levels[RT_MAX_LEVELS]; /* coarse to leaf */
    uint32_t beam;                            /* the stored choice (A8) */

    uint64_t n_rows; /* live: frozen and appendable less the dead */
    uint64_t n_rows_frozen, n_rows_appendable;
    uint64_t n_rows_skipped; /* --bad-rows skip, ever */
    uint64_t n_tombstones;
    uint64_t largest_id; /* at least that of every row ever in the index; 0 where there was none */
    uint64_t next_row;   /* heap rows seen so far: the default id of the next one inserted */
    uint32_t n_segments; /* numbers given so far */

    size_t n_files;
    struct rt_manifest_file *files; /* by kind, then number */
    size_t n_heaps;
    struct rt_manifest_heap *heaps; /* ascending rows */
    size_t n_own_heaps; /* the first ones: the heap that the index was built of, with what came
                           behind it by --from-row; the others came by inserts */
    struct rt_row_sample sample; /* of its own heap's rows; 0 blocks: not known */
    json_t *options;             /* {name: {value, source}} as the job gave it; an object */
    json_t *build;               /* build record: an object */
    json_t *history;             /* an array of objects, the last 100 jobs; totals in `build` */
};

/* All zero, with empty options, build and history. Fails with RT_NOMEM. */
enum rt_status rt_manifest_new(struct rt_manifest **out, struct rt_error *err) RT_MUST_CHECK;
void rt_manifest_free(struct rt_manifest *manifest);
/* Dimension, metric, levels and all else that a tree and the rows' type decide. */
void rt_manifest_take_tree(struct rt_manifest *manifest, const struct rt_tree *tree,
                           enum rt_element element);
/* Adds a finished file (ranges, hashes and size taken from path and layout; this reads all but its
 * bulk). */
enum rt_status rt_manifest_add_file(struct rt_manifest *manifest, enum rt_file_kind kind,
                                    uint64_t number, const char *path,
                                    const struct rt_h5_layout *layout, uint64_t rows,
                                    struct rt_error *err) RT_MUST_CHECK;
/* A file of this kind and number is named no longer; without one nothing happens. */
void rt_manifest_drop_file(struct rt_manifest *manifest, enum rt_file_kind kind, uint64_t number);
/* Copies path and dataset. */
enum rt_status rt_manifest_add_heap(struct rt_manifest *manifest,
                                    const struct rt_manifest_heap *heap,
                                    struct rt_error *err) RT_MUST_CHECK;
/* The files of a heap whose row 0 is row first_row of the index's. Where vectors stay in them they
 * are named from the root on: jobs to come stand in other folders. Fails with RT_USAGE (too long a
 * name), RT_IO, RT_NOMEM. */
enum rt_status rt_manifest_add_heaps(struct rt_manifest *manifest, const struct rt_heap_file *files,
                                     size_t n, uint64_t first_row,
                                     struct rt_error *err) RT_MUST_CHECK;
/* These files are the index's own heap, in place of what was. Fails as rt_manifest_add_heaps. */
enum rt_status rt_manifest_take_heap(struct rt_manifest *manifest, const struct rt_heap_file *files,
                                     size_t n, const struct rt_row_sample *sample,
                                     struct rt_error *err) RT_MUST_CHECK;
/* Rows of its own heap, as far as `sample` knows: it ends with the last of them. */
uint64_t rt_manifest_own_rows(const struct rt_manifest *manifest);
/* What a job has done, as rt_job_history begins it; the oldest jobs are forgotten. The reference of
 * line is stolen. Fails with RT_NOMEM, also where line is NULL. */
enum rt_status rt_manifest_add_history(struct rt_manifest *manifest, json_t *line,
                                       struct rt_error *err) RT_MUST_CHECK;
/* How `files` are ordered, for qsort: by kind, then number. */
int rt_manifest_order_files(const void *a, const void *b);
/* NULL: not named. */
struct rt_manifest_file *rt_manifest_find(const struct rt_manifest *manifest,
                                          enum rt_file_kind kind, uint64_t number);
/* Its rows; 0 where it is not named. */
uint64_t rt_manifest_rows(const struct rt_manifest *manifest, enum rt_file_kind kind,
                          uint64_t number);
/* Bytes of all files. */
uint64_t rt_manifest_bytes(const struct rt_manifest *manifest);

/* Text of a manifest, and back. The caller frees *text with rt_array_free. `name` is for messages.
 */
enum rt_status rt_manifest_print(const struct rt_manifest *manifest, char **text, size_t *n_bytes,
                                 struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_manifest_parse(const char *name, const char *text, size_t n_bytes,
                                 struct rt_manifest **out, struct rt_error *err) RT_MUST_CHECK;
/* Writes manifest-G.json and then, the moment of publishing, lets CURRENT name it with its hash by
 * one rename. The names of the files it speaks of become durable with its own, their bytes must be
 * before. The lock (NULL: nobody else writes here) must still be ours when all else is done: syncs
 * may take any time. */
enum rt_status rt_manifest_publish(const char *dir, const struct rt_manifest *manifest,
                                   const struct rt_lock *lock, struct rt_error *err) RT_MUST_CHECK;
/* manifest-G.json as it lies there; its hash is not checked, since only CURRENT has one. */
enum rt_status rt_manifest_read(const char *dir, uint64_t generation, struct rt_manifest **out,
                                struct rt_error *err) RT_MUST_CHECK;
/* Does CURRENT name this generation? What is on disk decides for a job that failed late: the rename
 * may have worked where its sync did not. */
bool rt_manifest_is_current(const char *dir, uint64_t generation);
/* CURRENT and the manifest it names, hash checked. */
enum rt_status rt_manifest_read_current(const char *dir, struct rt_manifest **out,
                                        struct rt_error *err) RT_MUST_CHECK;

#endif
