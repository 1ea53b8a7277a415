#include "io/row_sample.h"

#include <string.h>

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

struct rt_row_change rt_row_sample_compare(const struct rt_row_sample *a,
                                           const struct rt_row_sample *b)
{
    struct rt_row_change change = {0};
    for (size_t i = 0; i < a->n_blocks && i < b->n_blocks; i++)
        if (memcmp(&a->blocks[i], &b->blocks[i], sizeof a->blocks[i]) != 0)
            rt_row_change_add(&change, &a->blocks[i]);
    return change;
}

json_t *rt_row_sample_print(const struct rt_row_sample *sample)
{
    json_t *blocks = json_array();
    for (size_t i = 0; blocks && i < sample->n_blocks; i++) {
        const struct rt_sampled_block *block = &sample->blocks[i];
        char hash[33];
        rt_hash128_hex(block->hash, hash);
        if (json_array_append_new(blocks, json_pack("[IIs]", (json_int_t)block->begin,
                                                    (json_int_t)block->end, hash)) != 0) {
            json_decref(blocks);
            blocks = NULL;
        }
    }
    return blocks;
}

bool rt_row_sample_parse(const json_t *text, struct rt_row_sample *out)
{
    size_t n = json_array_size(text);
    out->n_blocks = 0;
    if (!json_is_array(text) || n > RT_SAMPLED_BLOCKS)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct rt_sampled_block *block = &out->blocks[i];
        json_int_t begin = 0;
        json_int_t end = 0;
        const char *hash = NULL;
        if (json_unpack(json_array_get(text, i), "[IIs!]", &begin, &end, &hash) != 0 || begin < 0 ||
            end <= begin || rt_hash128_parse(hash, &block->hash) != 0)
            return false;
        block->begin = (uint64_t)begin;
        block->end = (uint64_t)end;
    }
    out->n_blocks = n;
    return true;
}
