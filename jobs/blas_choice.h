/* OpenBLAS chooses its kernels by the processor's model number as it is loaded; one it does not
 * know yet gets those of a processor of 2004, ten times slower than what it could do. */
#ifndef RT_JOBS_BLAS_CHOICE_H
#define RT_JOBS_BLAS_CHOICE_H

/* Where that has happened and the user has not chosen (OPENBLAS_CORETYPE), chooses by instruction
 * set and starts the program anew in this process, since the choice falls before main. To be called
 * before MPI starts. Returns where there is nothing to do. */
void rt_blas_choice_make(char **argv);
/* "OpenBLAS 0.3.21 ... (Haswell)", or "unknown"; lent. */
const char *rt_blas_choice_name(void);
/* The kernels in use are slower than this processor could run. */
int rt_blas_choice_is_poor(void);

#endif
