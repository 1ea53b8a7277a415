/* ROWS of the command line as a list of files: one, those of a directory, or those a list names.
 * Opens no row file. */
#ifndef RT_IO_HEAP_H
#define RT_IO_HEAP_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>

struct rt_heap_name {
    char *path;
    char *dataset; /* an HDF5 file; NULL: none */
};

struct rt_heap_names {
    size_t n;
    struct rt_heap_name *names;
    bool is_many; /* a directory or a list, even of one file */
};

/* name: FILE, FILE.h5:/dataset, DIRECTORY, @LIST. A bare HDF5 file gets `dataset`. In a directory
 * '.bin' counts as a row suffix only with has_type. The caller frees *out with rt_heap_names_free.
 * Fails with RT_INPUT (no file in it, no such list), RT_IO, RT_NOMEM. */
enum rt_status rt_heap_expand(const char *name, const char *dataset, bool has_type,
                              struct rt_heap_names *out, struct rt_error *err) RT_MUST_CHECK;
void rt_heap_names_free(struct rt_heap_names *names);

#endif
