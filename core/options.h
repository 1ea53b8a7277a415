/* What a job was asked to do: one field for each line of options.def, where its value came from,
 * and the words beside the options (ROWS, INDEX..). Plain data without pointers, so that rank 0
 * parses and the bytes are broadcast. Hides getopt. */
#ifndef RT_CORE_OPTIONS_H
#define RT_CORE_OPTIONS_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rt_job_id {
    RT_JOB_SYNTH,
    RT_JOB_PLAN,
    RT_JOB_BUILD,
    RT_JOB_SEARCH,
    RT_JOB_INFO,
    RT_JOB_VERIFY,
    RT_JOB_INSERT,
    RT_JOB_DELETE,
    RT_JOB_VACUUM,
    RT_JOB_EXPORT,
    RT_JOB_IMPORT,
    RT_JOB_WATCH,
    RT_N_JOBS
};
#define RT_FOR_SYNTH (1u << RT_JOB_SYNTH)
#define RT_FOR_PLAN (1u << RT_JOB_PLAN)
#define RT_FOR_BUILD (1u << RT_JOB_BUILD)
#define RT_FOR_SEARCH (1u << RT_JOB_SEARCH)
#define RT_FOR_INFO (1u << RT_JOB_INFO)
#define RT_FOR_VERIFY (1u << RT_JOB_VERIFY)
#define RT_FOR_INSERT (1u << RT_JOB_INSERT)
#define RT_FOR_DELETE (1u << RT_JOB_DELETE)
#define RT_FOR_VACUUM (1u << RT_JOB_VACUUM)
#define RT_FOR_EXPORT (1u << RT_JOB_EXPORT)
#define RT_FOR_IMPORT (1u << RT_JOB_IMPORT)
#define RT_FOR_WATCH (1u << RT_JOB_WATCH)
#define RT_FOR_EDITING (RT_FOR_INSERT | RT_FOR_DELETE | RT_FOR_VACUUM) /* of a published index */
#define RT_FOR_WRITING (RT_FOR_BUILD | RT_FOR_EDITING | RT_FOR_IMPORT)
#define RT_FOR_PHASES (RT_FOR_WRITING | RT_FOR_EXPORT) /* jobs that can be stopped */
#define RT_FOR_READING_ROWS (RT_FOR_PLAN | RT_FOR_BUILD | RT_FOR_INSERT)
#define RT_FOR_MAKING (RT_FOR_PLAN | RT_FOR_BUILD)
#define RT_FOR_ALL ((1u << RT_N_JOBS) - 1)

enum rt_option_class {
    RT_CLASS_NONE,
    RT_CLASS_RESULT,
    RT_CLASS_LAYOUT,
    RT_CLASS_RUN,
    RT_N_CLASSES
};

enum rt_option_type {
    RT_TYPE_FLAG,     /* bool: --x, --x on, --x off, --x=on */
    RT_TYPE_COUNT,    /* uint64_t: how often it was given */
    RT_TYPE_NUMBER,   /* uint64_t */
    RT_TYPE_REAL,     /* double */
    RT_TYPE_SIZE,     /* uint64_t bytes: 512M, 4G, 1.5T */
    RT_TYPE_DURATION, /* double seconds: 90, 90s, 5m, 2h, H:MM:SS */
    RT_TYPE_WORD,     /* int: place among the words, the value of the enum below */
    RT_TYPE_TEXT,     /* char[]: "" where not given */
    RT_TYPE_NUMBERS,  /* struct rt_numbers */
    RT_TYPE_TEXTS,    /* struct rt_texts: may be given again */
    RT_TYPE_GATE      /* struct rt_gate: R[,K] */
};

/* Where a value came from. RT_FROM_AUTO: left to the program, which writes the value into the field
 * once it is known; till then numbers are 0, lists empty, words -1 and flags off. */
enum rt_origin { RT_FROM_DEFAULT, RT_FROM_GIVEN, RT_FROM_AUTO, RT_FROM_ENVIRONMENT };

/* Values of WORD options; metric and type are enum rt_metric and enum rt_element, progress is enum
 * rt_progress_mode (jobs/progress_view.h). */
enum rt_training_word { RT_TRAIN_LLOYD, RT_TRAIN_HIERARCHICAL };
enum rt_chooser_kind { RT_CHOOSER_ID, RT_CHOOSER_RNG, RT_CHOOSER_ZERO };
enum rt_bad_rows { RT_BAD_ROWS_FAIL, RT_BAD_ROWS_SKIP };
enum rt_write_mode { RT_WRITE_DIRECT, RT_WRITE_MPIO };
enum rt_export_word { RT_EXPORT_CENTROIDS, RT_EXPORT_FAISS, RT_EXPORT_HDF5, RT_EXPORT_VECTORCHORD };
enum rt_faiss_kind {
    RT_FAISS_FLAT,
    RT_FAISS_FP16,
    RT_FAISS_U8,
    RT_FAISS_RABITQ,
    RT_FAISS_RABITQ_FASTSCAN
};

#define RT_MOST_ROWS (UINT64_C(1) << 48)
#define RT_TEXT_BYTES 4096
#define RT_MOST_NUMBERS 8 /* levels of a tree (RT_MAX_LEVELS) */
#define RT_MOST_TEXTS 8
#define RT_MOST_ARGUMENTS 2

struct rt_numbers {
    uint32_t n;
    uint64_t value[RT_MOST_NUMBERS];
};
struct rt_texts {
    uint32_t n;
    char text[RT_MOST_TEXTS][RT_TEXT_BYTES];
};
struct rt_gate {
    double recall; /* 0: off */
    uint64_t k;
};

/* RT_OPT_rows, RT_OPT_dim, ... */
enum rt_option_index {
#define RT_OPTION(field, name, letter, class, type, text, least, most, words, jobs, help)          \
    RT_OPT_##field,
#include "core/options.def"
#undef RT_OPTION
    RT_N_OPTIONS
};

#define RT_FIELD_FLAG(field) bool field;
#define RT_FIELD_COUNT(field) uint64_t field;
#define RT_FIELD_NUMBER(field) uint64_t field;
#define RT_FIELD_REAL(field) double field;
#define RT_FIELD_SIZE(field) uint64_t field;
#define RT_FIELD_DURATION(field) double field;
#define RT_FIELD_WORD(field) int field;
#define RT_FIELD_TEXT(field) char field[RT_TEXT_BYTES];
#define RT_FIELD_NUMBERS(field) struct rt_numbers field;
#define RT_FIELD_TEXTS(field) struct rt_texts field;
#define RT_FIELD_GATE(field) struct rt_gate field;

struct rt_options {
#define RT_OPTION(field, name, letter, class, type, text, least, most, words, jobs, help)          \
    RT_FIELD_##type(field)
#include "core/options.def"
#undef RT_OPTION
    enum rt_job_id job;
    enum rt_job_id planned; /* by plan; else the job itself */
    uint32_t n_arguments;
    char argument[RT_MOST_ARGUMENTS]
                 [RT_TEXT_BYTES]; /* ROWS, INDEX, ... in the order of the job's usage line */
    uint8_t origin[RT_N_OPTIONS]; /* enum rt_origin by RT_OPT_field */
};

/* A line of the table, for help, manual, completion and JSON. */
struct rt_option {
    const char *name;
    char letter; /* 0: none */
    enum rt_option_class class;
    enum rt_option_type type;
    const char *default_text; /* "auto", "off", "" as in options.def */
    uint64_t least;           /* range of the integer types */
    uint64_t most;
    double least_real; /* range of REAL, DURATION (seconds) and GATE */
    double most_real;
    const char *words;
    const char *help;
    unsigned jobs; /* RT_FOR_.. bits */
    size_t offset; /* of its field */
};
extern const struct rt_option rt_option_table[RT_N_OPTIONS];

/* "build"; the words it takes, "ROWS INDEX", in brackets where one may be left out; what it does,
 * in a line. */
const char *rt_job_name(enum rt_job_id job);
const char *rt_job_arguments(enum rt_job_id job);
const char *rt_job_summary(enum rt_job_id job);
/* Returns 0 and sets *out, or -1 where no job has this name. */
int rt_job_parse(const char *name, enum rt_job_id *out);

/* Whether the job takes this option: plan takes those of a build, or the ones that say where and
 * those of the job that it is asked about. */
bool rt_options_take(const struct rt_options *options, const struct rt_option *option);

/* Every option of the job at its default. */
void rt_options_init(enum rt_job_id job, struct rt_options *out);
/* Parses argv[1..argc) (argv[0] is the job's name) and RANKTAPE_LOG into *out, which need not be
 * initialised. "plan vacuum .." takes the words and options of vacuum, likewise insert and delete.
 * Options may stand anywhere, `--` ends them. Where --help is given nothing else is
 * checked. argv is permuted. Not thread-safe (getopt). Fails with RT_USAGE: unknown or ambiguous
 * option (naming the job it belongs to), value out of range (naming the range), words missing or
 * too many. */
enum rt_status rt_options_parse(enum rt_job_id job, int argc, char **argv, struct rt_options *out,
                                struct rt_error *err) RT_MUST_CHECK;
/* Sets one option from text as if given on the command line; used by tests and by what reads
 * options back. */
enum rt_status rt_options_set(struct rt_options *options, enum rt_option_index index,
                              const char *text, struct rt_error *err) RT_MUST_CHECK;

/* The value as it would be typed: "400,160000", "on", "auto" while plan has not completed it. TEXTS
 * are joined by ','. */
void rt_options_text(const struct rt_options *options, enum rt_option_index index, char *text,
                     size_t text_size);
const char *rt_origin_name(enum rt_origin origin); /* "default" "given" "auto" "environment" */

#endif
