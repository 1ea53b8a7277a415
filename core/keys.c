#include "core/keys.h"

#define FEW 64u /* sorted by counting */

/* Each key's place is the number of lesser values: no branch to guess, and the compiler compares
 * four at once. Keys of equal values take the next places and are put right at the end. */
static void sort_few(uint64_t *keys, size_t n)
{
    int32_t value[FEW];
    uint64_t sorted[FEW];
    const size_t padded = (n + 15) / 16 * 16;
    for (size_t i = 0; i < padded; i++) {
        value[i] = i < n ? (int32_t)((keys[i] >> 32) ^ (1u << 31)) : INT32_MAX;
        sorted[i] = UINT64_MAX;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t place = 0;
        for (size_t j = 0; j < padded; j++)
            place += value[j] < value[i];
        while (sorted[place] != UINT64_MAX)
            place++;
        sorted[place] = keys[i];
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && keys[at - 1] > sorted[i]; at--)
            keys[at] = keys[at - 1];
        keys[at] = sorted[i];
    }
}

/* Those up to the middle key to the front, and it behind them: returns its place. */
static size_t part(uint64_t *keys, size_t n)
{
    size_t at = 0;
    uint64_t pivot = keys[n / 2];
    keys[n / 2] = keys[n - 1];
    keys[n - 1] = pivot;
    for (size_t i = 0; i + 1 < n; i++) {
        uint64_t key = keys[i];
        keys[i] = keys[at];
        keys[at] = key;
        at += key < pivot;
    }
    keys[n - 1] = keys[at];
    keys[at] = pivot;
    return at;
}

void rt_keys_sort(uint64_t *keys, size_t n)
{
    while (n > FEW) { /* the shorter part first: the stack stays shallow whatever the keys */
        size_t at = part(keys, n);
        if (at < n - at) {
            rt_keys_sort(keys, at);
            keys += at + 1;
            n -= at + 1;
        } else {
            rt_keys_sort(keys + at + 1, n - at - 1);
            n = at;
        }
    }
    sort_few(keys, n);
}

void rt_keys_select(uint64_t *keys, size_t n, size_t wanted)
{
    while (n > 1 && wanted > 0 && wanted < n) {
        size_t at = part(keys, n);
        if (at >= wanted) {
            n = at;
        } else {
            keys += at + 1;
            n -= at + 1;
            wanted -= at + 1;
        }
    }
}

static void sift_down(uint64_t *heap, size_t n, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child])
            child++;
        if (heap[at] >= heap[child])
            return;
        uint64_t key = heap[at];
        heap[at] = heap[child];
        heap[child] = key;
    }
}

void rt_keys_offer(struct rt_least *least, uint64_t key)
{
    if (least->n < least->best) {
        least->keys[least->n++] = key;
        if (least->n == least->best)
            for (size_t i = least->n / 2; i-- > 0;)
                sift_down(least->keys, least->n, i);
    } else if (key < least->keys[0]) {
        least->keys[0] = key;
        sift_down(least->keys, least->n, 0);
    }
}
