/* int8_tile and int8_least over a file's own products(), at most 2 rows and one group at once, and
 * at_most(). */
#ifndef RT_CORE_KERNELS_INT8_TILE_H
#define RT_CORE_KERNELS_INT8_TILE_H

ALWAYS void tile_rows(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, float *a, float *least)
{
    for (size_t group = 0; group < tile->n_groups; group++) {
        int32_t sums[2][16];
        products(tile, group, rows, n_rows, sums);
        for (size_t r = 0; r < n_rows; r++) {
            float *out = a + 64 * r + 16 * group;
            for (size_t c = 0; c < 16; c++)
                out[c] = tile->scale[16 * group + c] * (float)sums[r][c];
            float smallest = scale_products(out, tile->norm + 16 * group, row_scale[r], 16);
            least[r] = smallest < least[r] ? smallest : least[r];
        }
    }
}

static void int8_least(const struct rt_int8_tile *cell, const struct rt_int8_rows *rows,
                       float *least)
{
    for (size_t r = 0; r < rows->n; r++)
        least[r] = INFINITY;
    for (size_t group = 0; group < cell->n_groups; group++) {
        struct rt_int8_tile one = rt_int8_tile_part(cell, group, 1);
        for (size_t r = 0; r < rows->n;) {
            const uint8_t *codes[2];
            float scale[2];
            float values[2 * 64];
            size_t n = rows->n - r < 2 ? 1 : 2;
            rt_int8_rows_find(rows, r, n, codes, scale);
            if (n == 2)
                tile_rows(&one, codes, 2, scale, values, least + r);
            else
                tile_rows(&one, codes, 1, scale, values, least + r);
            r += n;
        }
    }
}

static void int8_most(const struct rt_int8_cell *cell, const struct rt_int8_rows *rows,
                      int32_t *most)
{
    struct rt_int8_tile tile = {.codes = cell->codes, .n_steps = cell->n_steps};
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *row = rt_int8_row(rows, r);
        int32_t lanes[16];
        for (size_t c = 0; c < 16; c++)
            lanes[c] = INT32_MIN;
        for (size_t group = 0; group < cell->n_groups; group++) {
            int32_t sums[1][16];
            products(&tile, group, &row, 1, sums);
            for (size_t c = 0; c < 16; c++) {
                int32_t sum = cell->starts[16 * group + c] + sums[0][c];
                lanes[c] = sum > lanes[c] ? sum : lanes[c];
            }
        }
        most[r] = lanes[0];
        for (size_t c = 1; c < 16; c++)
            most[r] = lanes[c] > most[r] ? lanes[c] : most[r];
    }
}

static void int8_tile(const struct rt_int8_tile *tile, const uint8_t *const *rows, size_t n_rows,
                      const float *row_scale, const float *threshold, float *a, uint64_t *mask,
                      float *least)
{
    for (size_t r = 0; r < n_rows;) {
        size_t n = n_rows - r < 2 ? 1 : 2;
        float smallest[2] = {INFINITY, INFINITY};
        if (n == 2)
            tile_rows(tile, rows + r, 2, row_scale + r, a + 64 * r, smallest);
        else
            tile_rows(tile, rows + r, 1, row_scale + r, a + 64 * r, smallest);
        for (size_t i = 0; i < n; i++)
            if (least)
                least[r + i] = smallest[i];
            else
                mask[r + i] = at_most(a + 64 * (r + i), 16 * tile->n_groups, threshold[r + i]);
        r += n;
    }
}

#endif
