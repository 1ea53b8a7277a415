/* A small index made through io/ alone, without training or ranks: what the format's readers are
 * tested on. */
#ifndef TINY_INDEX_H
#define TINY_INDEX_H

#include "core/element.h"
#include "core/error.h"
#include "core/metric.h"

#include <stdbool.h>
#include <stdint.h>

struct tiny_options {
    enum rt_metric metric;
    enum rt_element element;
    uint32_t dim, n_lists; /* more than 4 lists get a level above them */
    uint32_t n_rows;
    uint32_t n_appendable; /* the last ones of n_rows are not frozen */
    uint32_t n_tapes;
    bool residual, in_heap;
    uint64_t seed;
};
/* Row r has id 1000 + 3 r. Makes and publishes DIR (generation 1, or the next one). */
enum rt_status tiny_index_write(const char *dir, const struct tiny_options *options,
                                struct rt_error *err) RT_MUST_CHECK;

#endif
