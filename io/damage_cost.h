/* What a damaged range of a file costs: how many rows, of which lists. For the message only. */
#ifndef RT_IO_DAMAGE_COST_H
#define RT_IO_DAMAGE_COST_H

#include "io/index_rows.h"

/* Rows [first, first + n) of a dataset of one of the view's files; text ("" where no single rows
 * hang on it): "; this costs 4,096 rows of lists 12 to 17". */
void rt_damage_cost(const struct rt_index_view *view, const struct rt_h5_map *map, uint32_t dataset,
                    uint64_t first, uint64_t n, char *text, size_t text_size);

#endif
