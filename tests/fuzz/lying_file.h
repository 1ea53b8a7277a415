/* A file of an index in memory, of which some value, attribute or shape becomes another one, and
 * which is then signed: its checksums and the manifest's hashes fit what it says. */
#ifndef RT_TESTS_LYING_FILE_H
#define RT_TESTS_LYING_FILE_H

#include "io/manifest.h"
#include "tests/fuzz/fuzz.h"

struct lie {
    uint8_t file;   /* which of the index's; the last one is the manifest */
    uint8_t what;   /* a value, an attribute, a shape.. */
    uint8_t which;  /* dataset, attribute or field */
    uint16_t where; /* value in a dataset */
    uint8_t how;
    uint64_t value;
};
/* Of the next 14 bytes. */
struct lie lie_take(const uint8_t **data, size_t *size);
/* What becomes of a number. */
uint64_t lie_value(const struct lie *lie, uint64_t old);

struct lying_file {
    struct rt_manifest_file entry;
    struct rt_h5_layout layout;
    unsigned char *bytes; /* layout.size; the caller frees it */
};
void lying_file_read(const char *dir, const struct rt_manifest_file *entry,
                     struct lying_file *file);
/* The same of a file that no manifest names. */
void lying_file_read_alone(const char *path, struct lying_file *file);
void lying_file_copy(const struct lying_file *from, struct lying_file *to);
void lying_file_change(struct lying_file *file, const struct lie *lie);
/* Another text in the place of a text attribute; no such attribute: nothing happens. */
void lying_file_set_text(struct lying_file *file, const char *attribute, const char *text);
/* Its checksums fit, and it is written. */
void lying_file_write(const char *path, const struct lying_file *file);
/* Writes it into dir, and its hashes into the manifest. */
void lying_file_sign(const char *dir, const struct lying_file *file, struct rt_manifest *manifest);

#endif
