/* The two files of an insert: where each rank's rows lie in them, how they are made, and what is
 * left to do in them once all rows are written. */
#ifndef RT_JOBS_PHASES_INSERT_FILES_H
#define RT_JOBS_PHASES_INSERT_FILES_H

#include "jobs/phases/inserter.h"

/* Fixes out->slots (E2) and the shape of vectors-G. Collective over the job's communicator. */
enum rt_status rt_insert_files_place(struct rt_inserter *in, struct rt_vectors_shape *shape,
                                     struct rt_error *err) RT_MUST_CHECK;
/* Makes both files, or opens those that a run before has made. Collective. */
enum rt_status rt_insert_files_make(struct rt_inserter *in, const struct rt_vectors_shape *shape,
                                    struct rt_error *err) RT_MUST_CHECK;
/* Records of a layout rank on the tape. */
struct rt_range rt_insert_files_records(const struct rt_inserter *in, int layout_rank);
/* What is left to do together once all rows are written, for files that stay. Collective, whatever
 * has become of this rank's rows (st); a request to stop is rt_phase_end's to see. */
enum rt_status rt_insert_files_complete(struct rt_inserter *in, enum rt_status st,
                                        struct rt_error *err) RT_MUST_CHECK;

#endif
