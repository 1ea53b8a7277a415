/* Distances to stored rows, for the kernel files whose 16 lanes of A4 are a struct: they define
 * struct lanes and struct lanes_f64, zero_lanes, zero_lanes_f64, tree_f32, tree_f64, widen, minus,
 * add_product, add_product_f64, scaled and load_f32, load_f16, load_u8, load_i8, and then include
 * this. */
#ifndef RT_CORE_KERNELS_SCAN_ROWS_H
#define RT_CORE_KERNELS_SCAN_ROWS_H

/* Runs `step` for each 16 terms: i is the first, n (16 but at the end) are there. */
#define RT_EACH_16(step)                                                                           \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        size_t n = 16;                                                                             \
        for (; i + 16 <= dim; i += 16) {                                                           \
            step;                                                                                  \
        }                                                                                          \
        if (i < dim) {                                                                             \
            n = dim - i;                                                                           \
            step;                                                                                  \
        }                                                                                          \
    } while (0)

#define RT_ROW_FUNCTIONS(type)                                                                     \
    static float l2_##type(const float *query, const void *row, size_t dim)                        \
    {                                                                                              \
        struct lanes sum = zero_lanes();                                                           \
        RT_EACH_16(struct lanes x = minus(load_##type(row, i, n), load_f32(query, i, n));          \
                   add_product(&sum, x, x));                                                       \
        return tree_f32(sum);                                                                      \
    }                                                                                              \
    static float ip_##type(const float *query, const void *row, size_t dim)                        \
    {                                                                                              \
        struct lanes sum = zero_lanes();                                                           \
        RT_EACH_16(add_product(&sum, load_##type(row, i, n), load_f32(query, i, n)));              \
        return 0.0f - tree_f32(sum);                                                               \
    }                                                                                              \
    static float cosine_##type(const float *query, const void *row, size_t dim)                    \
    {                                                                                              \
        struct lanes_f64 square = zero_lanes_f64();                                                \
        RT_EACH_16(struct lanes_f64 x = widen(load_##type(row, i, n));                             \
                   add_product_f64(&square, &x, &x));                                              \
        double norm = sqrt(tree_f64(square));                                                      \
        struct lanes sum = zero_lanes();                                                           \
        RT_EACH_16(struct lanes x =                                                                \
                       minus(scaled(load_##type(row, i, n), norm), load_f32(query, i, n));         \
                   add_product(&sum, x, x));                                                       \
        return tree_f32(sum);                                                                      \
    }                                                                                              \
    RT_ROW_BY_ROW(l2_##type)                                                                       \
    RT_ROW_BY_ROW(ip_##type)                                                                       \
    RT_ROW_BY_ROW(cosine_##type)
RT_ROW_FUNCTIONS(f32)
RT_ROW_FUNCTIONS(f16)
RT_ROW_FUNCTIONS(u8)
RT_ROW_FUNCTIONS(i8)

#endif
