/* Constants of the index format; docs/format.md is the authority. */
#ifndef RT_IO_FORMAT_H
#define RT_IO_FORMAT_H

#include "core/tree.h"

#include <stdint.h>

#define RT_FORMAT_NAME "ranktape index"
#define RT_FORMAT_VERSION 1u /* a newer one is refused */

#define RT_UNIT_BYTES (UINT64_C(1) << 20)    /* a checksum unit is at most this (E4) */
#define RT_PAGE_BYTES UINT64_C(4096)         /* shares of ranks begin at multiples of this */
#define RT_SEGMENT_SLOTS (UINT64_C(1) << 20) /* slots of a segment, at most (E5) */
#define RT_NO_ID UINT64_MAX                  /* an unused slot or padding entry */
#define RT_NO_LIST UINT32_MAX                /* its list */
#define RT_NO_ROW UINT64_MAX
#define RT_MAX_TAPES 256u

enum rt_file_kind {
    RT_FILE_TREE = 0,
    RT_FILE_FROZEN,
    RT_FILE_APPENDABLE,
    RT_FILE_VECTORS,
    RT_FILE_TOMBSTONES
};
#define RT_N_FILE_KINDS 5
/* "tree" "frozen" "appendable" "vectors" "tombstones": the attribute `kind` and the first part of
 * the file's name. */
const char *rt_file_kind_name(enum rt_file_kind kind);

#endif
