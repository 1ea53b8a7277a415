/* import: the rows of an exported file become the lists and the vectors of a new index. They lie in
 * the order of their lists already, so that every rank reads what it writes and only ids travel. */
#ifndef RT_JOBS_PHASES_IMPORT_PHASE_H
#define RT_JOBS_PHASES_IMPORT_PHASE_H

#include "io/export_hdf5.h"
#include "jobs/phases/phase.h"

/* frozen-G.h5.partial, synced and closed; every row is checked on the way, its hash added up, and
 * the codes of about 2000 computed again. file: its head checked. Collective over the job's
 * communicator. Fails with RT_DAMAGED (the file), RT_IO, RT_NOMEM. */
enum rt_status rt_import_lists(struct rt_phase_context *context,
                               const struct rt_export_hdf5_view *file, struct rt_h5_layout *layout,
                               struct rt_error *err) RT_MUST_CHECK;
/* vectors-G.h5.partial likewise: one tape, whose slots are the file's rows. A file of no rows has
 * none: *layout is left alone. Also fails with RT_DAMAGED where an id is there twice. */
enum rt_status rt_import_vectors(struct rt_phase_context *context,
                                 const struct rt_export_hdf5_view *file,
                                 struct rt_h5_layout *layout, uint64_t *n_segments,
                                 struct rt_error *err) RT_MUST_CHECK;

#endif
