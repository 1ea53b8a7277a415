/* What carry.h says where vectors stay in the heap: rows go along slot by slot, so that those which
 * lie one behind the other in the heap do so in the new file as well, and share segments. A dead
 * row among them keeps its slot, unused; many of them together end the run. */
#ifndef RT_JOBS_PHASES_HEAP_CARRY_H
#define RT_JOBS_PHASES_HEAP_CARRY_H

#include "jobs/phases/carry.h"

/* Finds the slots of carry->files, which it fills in: heap, n_live, n_rows, heap_runs. Collective
 * over the job's communicator; carry is the same on all ranks. Fails with RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_heap_carry_find(struct rt_phase_context *context, struct rt_carry *carry,
                                  struct rt_error *err) RT_MUST_CHECK;
/* As rt_carry_read; no vectors. */
enum rt_status rt_heap_carry_read(const struct rt_carry *carry, uint64_t begin, size_t n,
                                  const struct rt_tape_columns *out,
                                  struct rt_error *err) RT_MUST_CHECK;
/* How many heap_runs they can come to. */
uint64_t rt_heap_carry_most_runs(uint64_t n_slots, uint64_t n_segments);
/* Private bytes of a rank for so many slots and segments. */
uint64_t rt_heap_carry_bytes(uint64_t n_slots, uint64_t n_segments);

#endif
