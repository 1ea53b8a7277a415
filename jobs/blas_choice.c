#include "jobs/blas_choice.h"

#include "core/kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

/* OpenBLAS tells its name and the kernels it chose; another BLAS does not have these. */
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

int rt_blas_choice_is_poor(void)
{
    static const char *const old[] = {"Prescott",   "Core2",       "Penryn",  "Dunnington",
                                      "Nehalem",    "Sandybridge", "Atom",    "Nano",
                                      "Opteron",    "Barcelona",   "Bobcat",  "Bulldozer",
                                      "Piledriver", "Steamroller", "Unknown", "Generic"};
    if (!openblas_get_corename || !rt_isa_is_here(RT_ISA_AVX2))
        return 0;
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++)
        if (strcasecmp(openblas_get_corename(), old[i]) == 0)
            return 1;
    return 0;
}

void rt_blas_choice_make(char **argv)
{
    if (getenv("OPENBLAS_CORETYPE") || !rt_blas_choice_is_poor())
        return;
    if (setenv("OPENBLAS_CORETYPE", rt_isa_is_here(RT_ISA_AVX512) ? "SkylakeX" : "Haswell", 0) == 0)
        (void)execv("/proc/self/exe", argv); /* where that fails the slow kernels do */
}

const char *rt_blas_choice_name(void)
{
    static char name[256];
    if (!openblas_get_config || !openblas_get_corename)
        return "unknown";
    (void)snprintf(name, sizeof name, "%s (%s)", openblas_get_config(), openblas_get_corename());
    return name;
}
