/* ranktape export: an index as a file of another program. One line of a table is one format; what
 * all formats share is here: OUT and its temporary name, the generation that is read, proof before
 * the rename, and what is told. */
#ifndef RT_JOBS_EXPORT_H
#define RT_JOBS_EXPORT_H

#include "io/fs.h"
#include "io/heap_vectors.h"
#include "io/index_reader.h"
#include "jobs/phases/phase.h"

#define RT_EXPORT_FILES 2

struct rt_export {
    struct rt_phase_context context;  /* job, progress, budget; dir is INDEX */
    const struct rt_index_view *view; /* the same generation on all ranks, its tree checked */
    struct rt_heap_vectors *heap;     /* NULL where the index keeps its vectors itself, or the
                                         format needs none */
    uint32_t n_files;
    char out[RT_EXPORT_FILES][RT_PATH_MAX];     /* OUT and the format's endings */
    char partial[RT_EXPORT_FILES][RT_PATH_MAX]; /* '.partial-NAME' beside each: what write makes and
                                                   prove reads; its ending is OUT's */
};

/* All three are called on every rank. */
struct rt_export_format {
    const char *name;                     /* the word of --format */
    const char *unit;                     /* what is written, for progress */
    const char *endings[RT_EXPORT_FILES]; /* of its files, behind OUT; NULL: no more */
    /* Before any work: does the index suit the format and OUT its name? Completes options. Local,
     * and the same on all ranks. *n_bytes: what the files will take, about. *needs_vectors: the
     * heap is opened where vectors lie there. Fails with RT_USAGE, RT_INPUT. */
    enum rt_status (*check)(struct rt_export *e, uint64_t *n_bytes, bool *needs_vectors,
                            struct rt_error *err);
    /* Makes the files under their temporary names, synced; ranks side by side, the same bytes on
     * any number of them. Sets the progress's total and adds to it. Collective; a failure of the
     * last local step need not be agreed on. */
    enum rt_status (*write)(struct rt_export *e, struct rt_error *err);
    /* Opens them again as a stranger would and compares with the index: counts and layout wholly,
     * bulk in samples, wholly with --verify-writes. As write. RT_IO: they are not what was
     * written. */
    enum rt_status (*prove)(struct rt_export *e, struct rt_error *err);
};

extern const struct rt_export_format rt_export_centroids;   /* jobs/phases/export_centroids.c */
extern const struct rt_export_format rt_export_faiss;       /* jobs/phases/export_faiss.c */
extern const struct rt_export_format rt_export_hdf5;        /* jobs/phases/export_hdf5_phase.c */
extern const struct rt_export_format rt_export_vectorchord; /* jobs/phases/export_vectorchord.c */

#endif
