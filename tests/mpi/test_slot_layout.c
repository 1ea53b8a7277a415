/* Slots of rows on vectors tapes: every row has one, no two ranks share a page, and nothing reaches
 * beyond the file. */
#define RT_TEST_MPI
#include "tests/rt_test.h"

#include "jobs/phases/slot_layout.h"
#include "mpi/partition.h"

#define SHARE 256

static void check_part(const struct rt_slot_part *part, const struct rt_tape_entry *tape)
{
    CHECK(part->begin % SHARE == 0 && part->begin >= tape->first_slot);
    CHECK(part->end <= tape->first_slot + tape->n_slots);
    CHECK(part->n_slots <= part->end - part->begin);
    CHECK(part->end - part->begin < part->n_slots + SHARE);
}

/* Tapes lie one behind the other inside the file, parts inside their tapes. */
static void check_layout(const struct rt_slot_layout *layout)
{
    uint64_t end = 0;
    uint64_t n_rows = 0;
    for (uint32_t tape = 0; tape < layout->n_tapes; tape++) {
        const struct rt_tape_entry *entry = &layout->tapes[tape];
        CHECK(entry->first_slot >= end && entry->first_slot <= layout->n_slots);
        CHECK(entry->n_slots <= layout->n_slots - entry->first_slot);
        end = entry->first_slot + entry->n_slots;
        for (int rank = 0; rank < layout->n_ranks; rank++) {
            const struct rt_slot_part *part = rt_slot_layout_part(layout, rank, tape);
            if (part)
                check_part(part, entry);
            n_rows += part ? part->n_slots : 0;
        }
    }
    CHECK(n_rows == layout->chunks.n_rows);
}

RT_TEST("tapes and parts lie inside the file, whatever the chooser, used or not")
{
    static const enum rt_chooser_kind choosers[] = {RT_CHOOSER_ZERO, RT_CHOOSER_ID, RT_CHOOSER_RNG};
    static const uint64_t counts[] = {1, 5, 300, 5000};
    struct rt_error err;
    for (size_t c = 0; c < sizeof choosers / sizeof *choosers; c++)
        for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
            for (uint32_t tapes = 1; tapes < 6; tapes++) {
                struct rt_slot_layout *layout = NULL;
                struct rt_slot_layout_options options = {.chunks = rt_chunks_of(counts[n]),
                                                         .n_ranks = 3,
                                                         .chooser = choosers[c],
                                                         .n_tapes = tapes,
                                                         .share_slots = SHARE};
                CHECK_OK(rt_slot_layout_new(MPI_COMM_WORLD, &options, &layout, &err));
                check_layout(layout);
                rt_slot_layout_free(layout);
            }
}

RT_TEST_MAIN()
