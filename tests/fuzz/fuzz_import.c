/* Exported files that lie, their checksums right: import refuses them, and leaves nothing, or what
 * it makes of them passes verify --full and can be searched. The first byte is the file; with the
 * second odd, rows_hash and digest are those of the rows; then lies of 14 bytes each. */
#include "core/fingerprint.h"
#include "core/memory.h"
#include "core/record.h"
#include "tests/fuzz/fuzz_jobs.h"
#include "tests/fuzz/lying_file.h"

#include <unistd.h>

#define MOST_LIES 8

static struct lying_file exported[3];

static void begin(void)
{
    fuzz_jobs_begin("fuzz_import");
    fuzz_must("synth rows.fbin --rows 150 --dim 9 --queries queries.fbin --query-count 3");
    fuzz_must("synth none.u8bin --rows 40 --dim 5");
    fuzz_must("build rows.fbin flat --lists 6 --memory 64M --quiet");
    fuzz_must("build rows.fbin tree --lists 2,4,8 --metric ip --residual off --memory 64M --quiet");
    fuzz_must("build none.u8bin small --lists 1 --metric cosine --memory 64M --quiet");
    fuzz_must("export flat flat.h5 --format hdf5 --memory 64M --quiet");
    fuzz_must("export tree tree.h5 --format hdf5 --memory 64M --quiet");
    fuzz_must("export small small.h5 --format hdf5 --memory 64M --quiet");
    lying_file_read_alone("flat.h5", &exported[0]);
    lying_file_read_alone("tree.h5", &exported[1]);
    lying_file_read_alone("small.h5", &exported[2]);
}

static const unsigned char *rows_of(const struct lying_file *file, const char *name,
                                    struct rt_h5_dataset *dataset)
{
    *dataset = file->layout.datasets[rt_h5_find(&file->layout, name)];
    return file->bytes + dataset->offset;
}

/* Only where all shapes are what they were: else there is nothing to add up. */
static void add_up(struct lying_file *file, const struct lying_file *sound)
{
    struct rt_h5_dataset ids, lists, codes, factors;
    struct rt_hash128 sum = {0, 0};
    struct rt_hash128 tree_hash;
    struct rt_error err;
    char hex[33];
    if (file->layout.n_datasets != sound->layout.n_datasets)
        return;
    for (uint32_t i = 0; i < sound->layout.n_datasets; i++)
        if (memcmp(file->layout.datasets[i].dims, sound->layout.datasets[i].dims,
                   sizeof file->layout.datasets[i].dims) != 0 ||
            file->layout.datasets[i].type != sound->layout.datasets[i].type)
            return;
    const unsigned char *id = rows_of(file, "ids", &ids);
    const unsigned char *list = rows_of(file, "lists", &lists);
    const unsigned char *code = rows_of(file, "codes", &codes);
    const unsigned char *factor = rows_of(file, "factors", &factors);
    for (uint64_t row = 0; row < ids.dims[0]; row++) {
        uint32_t number = 0;
        uint64_t row_id = 0;
        float values[4];
        memcpy(&number, list + 4 * row, sizeof number);
        memcpy(&row_id, id + 8 * row, sizeof row_id);
        memcpy(values, factor + 4 * factors.dims[1] * row, 4 * factors.dims[1]);
        sum = rt_hash128_add(sum, rt_record_hash(number, row_id, code + codes.dims[1] * row,
                                                 (uint32_t)codes.dims[1], values,
                                                 (uint32_t)factors.dims[1]));
    }
    if (rt_h5_get_hash(&file->layout, "exported", "tree_hash", &tree_hash, &err) != RT_OK)
        return;
    rt_hash128_hex(sum, hex);
    lying_file_set_text(file, "rows_hash", hex);
    rt_hash128_hex(rt_digest(tree_hash, sum), hex);
    lying_file_set_text(file, "digest", hex);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    struct rt_error err;
    struct lying_file file;
    if (!is_ready)
        begin();
    is_ready = true;
    const struct lying_file *sound =
        &exported[fuzz_take(&data, &size, 1) % (sizeof exported / sizeof *exported)];
    bool adds_up = fuzz_take(&data, &size, 1) % 2;
    bool lies = size > 0;
    lying_file_copy(sound, &file);
    for (int i = 0; i < MOST_LIES && size > 0; i++) {
        struct lie lie = lie_take(&data, &size);
        lying_file_change(&file, &lie);
    }
    if (adds_up)
        add_up(&file, sound);
    lying_file_write("lying.h5", &file);
    free(file.bytes);
    size_t held = rt_memory_now();
    bool is_done = fuzz_ok(fuzz_run("import lying.h5 imported --memory 64M --quiet", &err), &err);
    if (!is_done && !lies)
        (void)fprintf(stderr, "import: %s\n", err.text);
    FUZZ_CHECK(is_done || lies);
    FUZZ_CHECK(rt_memory_now() == held);
    FUZZ_CHECK(is_done || access("imported", F_OK) != 0);
    if (is_done) {
        FUZZ_CHECK(fuzz_ok(fuzz_run("verify imported --full", &err), &err));
        if (sound != &exported[2])
            FUZZ_CHECK(fuzz_ok(fuzz_run("search imported queries.fbin --k 3", &err), &err));
        fuzz_empty_folder("imported");
        FUZZ_CHECK(rmdir("imported") == 0);
    }
    return 0;
}
