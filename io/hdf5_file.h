/* A file of known layout open for writing and reading rows, in one of two ways that give the same
 * bytes. The handle does not depend on MPI when direct. */
#ifndef RT_IO_HDF5_FILE_H
#define RT_IO_HDF5_FILE_H

#include "io/hdf5.h"

enum rt_io_way { RT_IO_DIRECT = 0, RT_IO_MPIO = 1 };

/* An open file of known layout. Direct: any thread may write and read. mpio: one thread, and open
 * and close are collective over the communicator. */
struct rt_h5_file;
/* Opens a created and closed file for writing. comm: NULL under RT_IO_DIRECT; under RT_IO_MPIO the
 * address of an MPI_Comm, over which this call is then collective (agree on creation first). The
 * layout is copied. Fails with RT_IO; RT_USAGE for mpio where this build has none. */
enum rt_status rt_h5_open_write(const void *comm, const char *path,
                                const struct rt_h5_layout *layout, enum rt_io_way way,
                                struct rt_h5_file **out, struct rt_error *err) RT_MUST_CHECK;
/* Before the first write: what is large goes past the page cache where that can be
 * (io/past_cache.h), or, for a file that is read next, not. mpio: nothing. */
void rt_h5_write_past_cache(struct rt_h5_file *file, bool past_cache);
/* Opens for rt_h5_read only, by offsets; reads the layout from the file where layout is NULL. */
enum rt_status rt_h5_open_read(const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_file **out, struct rt_error *err) RT_MUST_CHECK;
const struct rt_h5_layout *rt_h5_file_layout(const struct rt_h5_file *file);
const char *rt_h5_file_path(const struct rt_h5_file *file);
/* Rows [first_row, first_row + n_rows) of a dataset, packed. Not collective in either way. Fail
 * with RT_IO. */
enum rt_status rt_h5_write(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                           uint64_t n_rows, const void *rows, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_read(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                          uint64_t n_rows, void *rows, struct rt_error *err) RT_MUST_CHECK;
/* Checksums of units [first_unit, first_unit + n_units): to NAME.xxh3, and from it. */
enum rt_status rt_h5_write_sums(struct rt_h5_file *file, uint32_t dataset, uint64_t first_unit,
                                uint64_t n_units, const uint64_t *sums,
                                struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_read_sums(struct rt_h5_file *file, uint32_t dataset, uint64_t first_unit,
                               uint64_t n_units, uint64_t *sums,
                               struct rt_error *err) RT_MUST_CHECK;
/* Direct: rows written before begin their way to the disk while this rank computes (io/fs.h); mpio,
 * or past the page cache: nothing. Fails with RT_IO. */
enum rt_status rt_h5_begin_sync(struct rt_h5_file *file, uint32_t dataset, uint64_t first_row,
                                uint64_t n_rows, struct rt_error *err) RT_MUST_CHECK;
enum rt_status rt_h5_begin_sync_all(struct rt_h5_file *file, /* all of them, with checksums */
                                    struct rt_error *err) RT_MUST_CHECK;
/* What this process wrote reaches the disk (mpio: of this rank's descriptor as well, not
 * collective). */
enum rt_status rt_h5_sync(struct rt_h5_file *file, struct rt_error *err) RT_MUST_CHECK;
/* True after a failed mpio write or close: the ranks must agree on that and MPI_Abort, and nobody
 * may close the file, since closing hangs (platform: a failed flush on one rank). Never true under
 * direct. */
bool rt_h5_must_abort(const struct rt_h5_file *file);
/* mpio: collective. Fails with RT_IO. The handle is gone afterwards in every case; NULL is fine. */
enum rt_status rt_h5_close(struct rt_h5_file *file, struct rt_error *err) RT_MUST_CHECK;
/* For cleanup after a failure: gives the handle back without a word, never collective (under mpio
 * HDF5's file stays open, to be ended by MPI_Abort); NULL is fine. */
void rt_h5_drop(struct rt_h5_file *file);
/* True where this build can do RT_IO_MPIO. */
bool rt_h5_has_mpio(void);

#endif
