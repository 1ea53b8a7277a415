#include "jobs/version.h"

#include "core/kernels/kernels.h"
#include "io/hdf5.h"
#include "jobs/blas_choice.h"

#include <mpi.h>
#include <string.h>

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#ifdef RT_MPIO
#define IO_MODES "direct, mpio"
#else
#define IO_MODES "direct"
#endif

/* "Open MPI v4.1.4" of what may be a page. */
static void mpi_name(char name[MPI_MAX_LIBRARY_VERSION_STRING])
{
    int length;
    MPI_Get_library_version(name, &length);
    name[strcspn(name, ",\n")] = '\0';
    for (char *tab = strchr(name, '\t'); tab; tab = strchr(tab, '\t')) /* MPICH's */
        *tab = ' ';
}

json_t *rt_version_json(void)
{
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    char hdf5[RT_H5_VERSION_TEXT];
    mpi_name(mpi);
    rt_h5_version(hdf5);
    return json_pack("{ss ss ss ss ss ss ss}", "ranktape", RT_VERSION, "mpi", mpi, "hdf5", hdf5,
                     "io", IO_MODES, "blas", rt_blas_choice_name(), "kernel",
                     rt_isa_name(rt_kernels()->isa), "compiler", COMPILER);
}

enum rt_status rt_version_write(bool as_json, FILE *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    json_t *items = rt_version_json();
    const char *name;
    json_t *item;
    if (!items)
        RT_FAIL(RT_NOMEM, "out of memory for the version");
    if (as_json) {
        (void)json_dumpf(items, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        (void)fputc('\n', out);
    } else {
        json_object_foreach(items, name, item)(void)
            fprintf(out, "%-8s %s\n", name, json_string_value(item));
    }
done:
    json_decref(items);
    return st;
}
