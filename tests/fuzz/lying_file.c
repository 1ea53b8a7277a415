#include "tests/fuzz/lying_file.h"

#include "core/memory.h"
#include "io/index_dir.h"

#define MOST_BYTES (UINT64_C(1) << 20) /* of a file */

struct lie lie_take(const uint8_t **data, size_t *size)
{
    struct lie lie;
    lie.file = (uint8_t)fuzz_take(data, size, 1);
    lie.what = (uint8_t)fuzz_take(data, size, 1);
    lie.which = (uint8_t)fuzz_take(data, size, 1);
    lie.where = (uint16_t)fuzz_take(data, size, 2);
    lie.how = (uint8_t)fuzz_take(data, size, 1);
    lie.value = fuzz_take(data, size, 8);
    return lie;
}

uint64_t lie_value(const struct lie *lie, uint64_t old)
{
    static const uint32_t floats[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff,
                                      0x80000000, 1,          0xbf800000, 0x5f000000};
    switch (lie->how % 8) {
    case 0:
        return lie->value;
    case 1:
        return old + lie->value % 256 - 128;
    case 2:
        return UINT64_MAX;
    case 3:
        return lie->value % 256;
    case 4:
        return old ^ UINT64_C(1) << lie->value % 64;
    case 5:
        return floats[lie->value % 8];
    case 6:
        return UINT64_MAX - lie->value % 256;
    default:
        return UINT64_C(1) << lie->value % 64;
    }
}

static unsigned char *new_bytes(uint64_t n)
{
    unsigned char *bytes = malloc(n);
    FUZZ_CHECK(bytes);
    return bytes;
}

static unsigned char *read_whole(const char *path, uint64_t n_bytes)
{
    unsigned char *bytes = new_bytes(n_bytes);
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file && fread(bytes, 1, n_bytes, file) == n_bytes);
    (void)fclose(file);
    return bytes;
}

void lying_file_read_alone(const char *path, struct lying_file *file)
{
    struct rt_error err;
    memset(file, 0, sizeof *file);
    FUZZ_CHECK(rt_h5_read_layout(path, &file->layout, &err) == RT_OK);
    file->bytes = read_whole(path, file->layout.size);
}

void lying_file_read(const char *dir, const struct rt_manifest_file *entry, struct lying_file *file)
{
    struct rt_error err;
    char path[RT_PATH_MAX];
    FUZZ_CHECK(rt_index_path(dir, entry->kind, entry->number, false, path, &err) == RT_OK);
    lying_file_read_alone(path, file);
    file->entry = *entry;
}

void lying_file_copy(const struct lying_file *from, struct lying_file *to)
{
    *to = *from;
    to->bytes = new_bytes(from->layout.size);
    memcpy(to->bytes, from->bytes, from->layout.size);
}

static void change_value(struct lying_file *file, const struct lie *lie)
{
    const struct rt_h5_dataset *dataset =
        &file->layout.datasets[lie->which % file->layout.n_datasets];
    size_t item = rt_h5_type_size(dataset->type);
    uint64_t n = rt_h5_dataset_bytes(dataset) / item;
    uint64_t value = 0;
    if (n == 0)
        return;
    unsigned char *at = file->bytes + dataset->offset + lie->where % n * item;
    memcpy(&value, at, item);
    value = lie_value(lie, value);
    memcpy(at, &value, item);
}

static bool is_small(const struct rt_h5_layout *layout)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < layout->n_datasets; i++) {
        const struct rt_h5_dataset *dataset = &layout->datasets[i];
        for (uint32_t d = 0; d < dataset->rank; d++)
            if (dataset->dims[d] > MOST_BYTES)
                return false;
        if (dataset->dims[0] * dataset->dims[1] > MOST_BYTES ||
            rt_h5_dataset_bytes(dataset) > MOST_BYTES)
            return false;
        total += rt_h5_dataset_bytes(dataset);
    }
    return total <= MOST_BYTES;
}

/* The file made anew by HDF5, with as much of the old values as there is room for. */
static void rebuild(struct lying_file *file, struct rt_h5_layout *layout)
{
    struct rt_error err;
    if (!is_small(layout))
        return;
    FUZZ_CHECK(fuzz_ok(rt_h5_create("rebuilt.h5", layout, &err), &err));
    unsigned char *bytes = read_whole("rebuilt.h5", layout->size);
    for (uint32_t i = 0; i < layout->n_datasets; i++) {
        const struct rt_h5_dataset *to = &layout->datasets[i];
        int found = rt_h5_find(&file->layout, to->name);
        const struct rt_h5_dataset *from = &file->layout.datasets[found < 0 ? 0 : found];
        uint64_t n = rt_h5_dataset_bytes(to);
        n = rt_h5_dataset_bytes(from) < n ? rt_h5_dataset_bytes(from) : n;
        if (found >= 0 && n > 0)
            memcpy(bytes + to->offset, file->bytes + from->offset, n);
    }
    free(file->bytes);
    file->bytes = bytes;
    file->layout = *layout;
}

static void change_attribute(struct rt_h5_layout *layout, const struct lie *lie)
{
    struct rt_h5_attribute *attribute = &layout->attributes[lie->which % layout->n_attributes];
    if (attribute->is_text)
        attribute->text[lie->where % strlen(attribute->text)] = (char)(' ' + lie->value % 90);
    else
        attribute->number = lie_value(lie, attribute->number);
}

static void change_shape(struct rt_h5_layout *layout, const struct lie *lie)
{
    struct rt_h5_dataset *dataset = &layout->datasets[lie->which % layout->n_datasets];
    uint32_t field = lie->where % (dataset->rank + 2);
    if (field < dataset->rank)
        dataset->dims[field] = lie_value(lie, dataset->dims[field]);
    else if (field == dataset->rank)
        dataset->unit_rows = lie_value(lie, dataset->unit_rows);
    else
        dataset->type = (enum rt_h5_type)(lie->value % (RT_H5_F64 + 1));
}

/* The last dataset or attribute takes the place of one. */
static void drop(struct rt_h5_layout *layout, const struct lie *lie)
{
    if (lie->where % 2 && layout->n_datasets > 1) {
        uint32_t last = --layout->n_datasets;
        layout->datasets[lie->which % (last + 1)] = layout->datasets[last];
    } else if (layout->n_attributes > 1) {
        uint32_t last = --layout->n_attributes;
        layout->attributes[lie->which % (last + 1)] = layout->attributes[last];
    }
}

void lying_file_change(struct lying_file *file, const struct lie *lie)
{
    struct rt_h5_layout layout = file->layout;
    switch (lie->what % 8) {
    default:
        change_value(file, lie);
        return;
    case 5:
        change_attribute(&layout, lie);
        break;
    case 6:
        change_shape(&layout, lie);
        break;
    case 7:
        drop(&layout, lie);
        break;
    }
    rebuild(file, &layout);
}

void lying_file_set_text(struct lying_file *file, const char *attribute, const char *text)
{
    struct rt_h5_layout layout = file->layout;
    for (uint32_t i = 0; i < layout.n_attributes; i++)
        if (strcmp(layout.attributes[i].name, attribute) == 0 && layout.attributes[i].is_text)
            (void)snprintf(layout.attributes[i].text, sizeof layout.attributes[i].text, "%s", text);
    rebuild(file, &layout);
}

void lying_file_write(const char *path, const struct lying_file *file)
{
    for (uint32_t i = 0; i < file->layout.n_datasets; i++) {
        const struct rt_h5_dataset *dataset = &file->layout.datasets[i];
        uint64_t unit_bytes = dataset->unit_rows * rt_h5_row_bytes(dataset);
        uint64_t left = rt_h5_dataset_bytes(dataset);
        for (uint64_t unit = 0; unit < rt_h5_n_units(dataset); unit++) {
            uint64_t n = left < unit_bytes ? left : unit_bytes;
            uint64_t sum = rt_hash64(file->bytes + dataset->offset + unit * unit_bytes, n);
            memcpy(file->bytes + dataset->sums_offset + 8 * unit, &sum, sizeof sum);
            left -= n;
        }
    }
    fuzz_write(path, file->bytes, file->layout.size);
}

void lying_file_sign(const char *dir, const struct lying_file *file, struct rt_manifest *manifest)
{
    struct rt_error err;
    char path[RT_PATH_MAX];
    const struct rt_manifest_file *entry = &file->entry;
    FUZZ_CHECK(rt_index_path(dir, entry->kind, entry->number, false, path, &err) == RT_OK);
    lying_file_write(path, file);
    rt_manifest_drop_file(manifest, entry->kind, entry->number);
    FUZZ_CHECK(fuzz_ok(rt_manifest_add_file(manifest, entry->kind, entry->number, path,
                                            &file->layout, entry->rows, &err),
                       &err));
    rt_manifest_find(manifest, entry->kind, entry->number)->is_pair = entry->is_pair;
}
