/* Everything in an opened index that can be checked without its rows' meaning: checksums, the list
 * directory, places against vectors files, tombstones. */
#ifndef RT_IO_INDEX_VERIFY_H
#define RT_IO_INDEX_VERIFY_H

#include "io/index_rows.h"

/* Called for each thing found wrong; verification goes on. text is one line. */
typedef void (*rt_index_report)(void *context, const char *text);
struct rt_index_verified {
    uint64_t n_units, n_bytes, n_errors;
    uint64_t n_slots;   /* of vectors files, in use by live rows */
    int64_t n_unsorted; /* used slots less sorted ids, of files that sort them: 0 over all parts */
};
/* Part `part` of n_parts (a rank's) of all checksum units of all files, and for part 0 the hashes
 * of checksums. Fails only where it could not look (RT_NOMEM); damage is reported and counted. */
enum rt_status rt_index_verify_checksums(const struct rt_index_view *view, uint32_t part,
                                         uint32_t n_parts, rt_index_report report, void *context,
                                         struct rt_index_verified *out,
                                         struct rt_error *err) RT_MUST_CHECK;
/* Part of the lists: directory entries, padding of last blocks, places of live rows against the
 * vectors files (id and list equal), slots in use by live rows, order of tombstones, and over the
 * live rows of the part, frozen and appendable, their number and the sum of their hashes (H_rows),
 * to be added up over parts and compared with the manifest. */
enum rt_status rt_index_verify_lists(const struct rt_index_view *view, uint32_t part,
                                     uint32_t n_parts, rt_index_report report, void *context,
                                     struct rt_index_verified *out, uint64_t *n_rows,
                                     struct rt_hash128 *rows_hash,
                                     struct rt_error *err) RT_MUST_CHECK;

#endif
