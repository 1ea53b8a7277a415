/* The MPI-IO half of io/hdf5_file: a created and closed file opened by all ranks of a communicator,
 * raw data written independently (G6). Only compiled with RT_MPIO. One thread; calls with comm, and
 * close, are collective. */
#ifndef RT_IO_HDF5_MPIO_H
#define RT_IO_HDF5_MPIO_H

#include "io/hdf5.h"

#include <mpi.h>

struct rt_h5_mpio;
enum rt_status rt_h5_mpio_open(MPI_Comm comm, const char *path, const struct rt_h5_layout *layout,
                               struct rt_h5_mpio **out, struct rt_error *err) RT_MUST_CHECK;
/* Rows of a dataset, or (is_sums) of its checksums. Not collective. */
enum rt_status rt_h5_mpio_write(struct rt_h5_mpio *mpio, uint32_t dataset, bool is_sums,
                                uint64_t first_row, uint64_t n_rows, const void *rows,
                                struct rt_error *err) RT_MUST_CHECK;
/* Collective. The handle is gone afterwards. */
enum rt_status rt_h5_mpio_close(struct rt_h5_mpio *mpio, struct rt_error *err) RT_MUST_CHECK;

#endif
