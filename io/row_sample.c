#include "io/row_sample.h"

void rt_row_sample_lay(struct rt_row_sample *sample, uint64_t first_row, uint64_t n_rows,
                       size_t row_bytes)
{
    uint64_t n = n_rows - first_row;
    uint64_t end = first_row;
    *sample =
        (struct rt_row_sample){.n_blocks = n < RT_SAMPLED_BLOCKS ? (size_t)n : RT_SAMPLED_BLOCKS};
    for (size_t i = 0; i < sample->n_blocks; i++) {
        uint64_t share = n / sample->n_blocks;
        uint64_t most = RT_SAMPLED_BYTES / row_bytes;
        uint64_t n_sampled = share < most ? share : most;
        end += share + (i < n % sample->n_blocks);
        sample->blocks[i] =
            (struct rt_sampled_block){.begin = end - (n_sampled ? n_sampled : 1), .end = end};
    }
}

bool rt_row_sample_is_sound(const struct rt_row_sample *sample, uint64_t n_rows, size_t row_bytes)
{
    uint64_t at = 0;
    if (sample->n_blocks > RT_SAMPLED_BLOCKS)
        return false;
    for (size_t i = 0; i < sample->n_blocks; i++) {
        const struct rt_sampled_block *block = &sample->blocks[i];
        if (block->begin < at || block->end <= block->begin || block->end > n_rows ||
            (block->end - block->begin > 1 &&
             block->end - block->begin > RT_SAMPLED_BYTES / row_bytes))
            return false;
        at = block->end;
    }
    return true;
}

void rt_row_change_add(struct rt_row_change *change, const struct rt_sampled_block *block)
{
    if (!change->is_found)
        change->begin = block->begin;
    change->end = block->end;
    change->is_found = true;
}
