/* Jobs of the program in the process of a fuzz target. */
#ifndef RT_TESTS_FUZZ_JOBS_H
#define RT_TESTS_FUZZ_JOBS_H

#include "tests/fuzz/fuzz.h"

/* MPI, kernels, and standard output out of the way. Once. */
void fuzz_jobs_begin(const char *program);
/* A job as on the command line, words parted by single blanks. */
enum rt_status fuzz_run(const char *line, struct rt_error *err);
/* One that must succeed: what the target is made of. */
void fuzz_must(const char *line);
/* Leaves an index's folder without files; one that is not there is fine. */
void fuzz_empty_folder(const char *path);

#endif
