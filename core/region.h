/* Pages straight from the kernel for large arrays, and those of freed ones kept for the next.
 * Memory that the kernel gives anew is cleared page by page as it is first touched, which takes
 * longer than most of what is then done with it; a kept region is moved and grown (mremap), never
 * copied. */
#ifndef RT_CORE_REGION_H
#define RT_CORE_REGION_H

#include <stddef.h>

/* At least so many bytes at a page, contents undefined, free with rt_region_give; NULL: there are
 * none. What is kept beside it afterwards is at most most_kept bytes. */
void *rt_region_take(size_t bytes, size_t most_kept);
/* Takes a region of so many bytes back and keeps it where that makes at most most_kept bytes. */
void rt_region_give(void *region, size_t bytes, size_t most_kept);
/* Gives kept regions to the kernel until at most so many bytes are left. */
void rt_region_keep(size_t most_kept);

#endif
