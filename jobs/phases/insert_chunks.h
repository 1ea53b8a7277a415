/* A run of chunks that lie behind each other: its rows are read, judged, assigned and coded block
 * by block, their vectors go to the tapes that the chooser names, their records, sorted by chunk,
 * to the appendable tape. What is written is handed in when the syncing thread asks, and at the
 * end. */
#ifndef RT_JOBS_PHASES_INSERT_CHUNKS_H
#define RT_JOBS_PHASES_INSERT_CHUNKS_H

#include "jobs/phases/inserter.h"

/* The run in->run. Another rank's failure, or a request to stop, ends it early with *goes_on false:
 * chunks of a group that was broken off are not done. Local. Fails with RT_INPUT naming a bad row,
 * RT_IO, RT_NOMEM. */
enum rt_status rt_insert_chunks(struct rt_inserter *in, bool *goes_on,
                                struct rt_error *err) RT_MUST_CHECK;

#endif
