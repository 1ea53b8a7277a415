/* block_sums and scan over a file's own sums_of(): 32 row sums of a block as integers, in order of
 * rows. */
#ifndef RT_CORE_KERNELS_SCAN_BLOCKS_512_H
#define RT_CORE_KERNELS_SCAN_BLOCKS_512_H

static void block_sums(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                       uint32_t *sums)
{
    __m512i both[2];
    sums_of(entries, codes, n_groups, both);
    _mm512_storeu_si512(sums, both[0]);
    _mm512_storeu_si512(sums + 16, both[1]);
}

static void scan(const struct rt_scan_table *table, const uint8_t *codes, const float *factors,
                 size_t n_blocks, float tau, float *bounds, uint32_t *kept)
{
    const __m512 scale = _mm512_set1_ps(table->scale);
    const __m512 base = _mm512_set1_ps(table->base);
    const __m512 offset = _mm512_set1_ps(table->offset);
    const __m512 width = _mm512_set1_ps(table->width);
    const __m512 most = _mm512_set1_ps(FLT_MAX);
    const __m512 limit = _mm512_set1_ps(tau);
    const size_t first = 32 * (size_t)table->first;
    for (size_t b = 0; b < n_blocks; b++) {
        __m512i sums[2];
        sums_of(table->entries, codes, table->n_groups, sums);
        kept[b] = 0;
        for (size_t h = 0; h < 2; h++) {
            const float *f = factors + 16 * h;
            __m512 e = _mm512_add_ps(_mm512_mul_ps(scale, _mm512_cvtepi32_ps(sums[h])), base);
            __m512 rough = _mm512_add_ps(_mm512_loadu_ps(f + first), offset);
            rough = _mm512_sub_ps(rough, _mm512_mul_ps(e, _mm512_loadu_ps(f + 32)));
            __m512 bound = _mm512_sub_ps(rough, _mm512_mul_ps(_mm512_loadu_ps(f + 64), width));
            __mmask16 wild = _mm512_cmp_ps_mask(bound, most, _CMP_NLE_UQ);
            bound = _mm512_mask_mov_ps(bound, wild, _mm512_set1_ps(-INFINITY));
            _mm512_storeu_ps(bounds + 32 * b + 16 * h, bound);
            kept[b] |= (uint32_t)_mm512_cmp_ps_mask(bound, limit, _CMP_LE_OQ) << 16 * h;
        }
        codes += (size_t)16 * table->n_groups;
        factors += (size_t)32 * table->n_factors;
    }
}

#endif
