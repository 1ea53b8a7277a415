/* Ids of rows from a file: raw u64, .npy (u8 i8 u4 i4; one axis, or n x 1), or FILE.h5:/dataset
 * (any integer type). */
#ifndef RT_IO_IDS_H
#define RT_IO_IDS_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_NO_ID UINT64_MAX
#define RT_IDS_ANY UINT64_MAX /* any number of ids will do */

struct rt_ids;
/* Opens name; reads its header only. n_rows is the number of ids it must hold, or RT_IDS_ANY. Fails
 * with RT_INPUT (format, count differs: both named), RT_IO, RT_NOMEM. The caller closes *out. */
enum rt_status rt_ids_open(const char *name, uint64_t n_rows, struct rt_ids **out,
                           struct rt_error *err) RT_MUST_CHECK;
void rt_ids_close(struct rt_ids *ids); /* NULL is fine */
uint64_t rt_ids_count(const struct rt_ids *ids);
/* True where reads go through HDF5 and so belong on the thread that calls it. */
bool rt_ids_needs_hdf5(const struct rt_ids *ids);
/* Ids [begin, begin + n) into out. Fails with RT_INPUT, naming the row, on a negative id, on 2^64-1
 * (no id) and on a file that shrank; RT_IO. Duplicates are not looked for here. */
enum rt_status rt_ids_read(struct rt_ids *ids, uint64_t begin, size_t n, uint64_t *out,
                           struct rt_error *err) RT_MUST_CHECK;

#endif
