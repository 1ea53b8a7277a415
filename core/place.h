/* Where a row's original vector lies (E5): a slot of a segment. */
#ifndef RT_CORE_PLACE_H
#define RT_CORE_PLACE_H

#include <stdint.h>

struct rt_place {
    uint32_t segment;
    uint32_t slot;
};

#endif
