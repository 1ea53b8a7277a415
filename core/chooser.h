/* Which vectors tape takes a row's vector (E2). Pure: from the row and the layout's rank, so that
 * the place of any row is known without asking anybody. */
#ifndef RT_CORE_CHOOSER_H
#define RT_CORE_CHOOSER_H

#include "core/options.h"
#include "core/random.h"

#include <stdint.h>

/* rank: of the layout, the one whose partition holds the row. n_tapes >= 1. */
static inline uint32_t rt_choose_tape(enum rt_chooser_kind chooser, uint32_t n_tapes, uint64_t seed,
                                      uint32_t rank, uint64_t row)
{
    switch (chooser) {
    case RT_CHOOSER_ID:
        return rank % n_tapes;
    case RT_CHOOSER_RNG:
        return (uint32_t)rt_random_below(rt_random(seed, RT_RANDOM_CHOOSER, row, 0, 0), n_tapes);
    case RT_CHOOSER_ZERO:
        break;
    }
    return 0;
}

#endif
