/* io/manifest and io/index_dir: what is written is read back; whatever else is in the files is told
 * as damage. */
#include "tests/rt_test.h"

#include "core/memory.h"
#include "core/random.h"
#include "core/rotation.h"
#include "io/index_dir.h"
#include "io/manifest.h"

#include <sys/stat.h>
#include <unistd.h>

static struct rt_error err;

static struct rt_manifest *make_manifest(void)
{
    struct rt_manifest *m = NULL;
    char odd[] = "a\xff\xfe'.fvecs";
    char plain[] = "rows/part-0001.h5";
    char dataset[] = "/train";
    const struct rt_manifest_heap heaps[] = {{odd, NULL, 0, 10, 999, -5, true},
                                             {plain, dataset, 10, 5, 1, 7, false}};
    if (rt_manifest_new(&m, &err) != RT_OK)
        return NULL;
    m->generation = 12;
    m->fingerprint = (struct rt_hash128){1, UINT64_MAX};
    m->digest = (struct rt_hash128){UINT64_MAX, 3};
    m->dim = 96;
    m->metric = RT_COSINE;
    m->element = RT_F16;
    m->residual = true;
    m->rotation_seed = UINT64_MAX;
    m->rotation_version = RT_ROTATION_VERSION;
    m->n_levels = 2;
    m->levels[0] = 7;
    m->levels[1] = 100;
    m->beam = 5;
    m->n_rows = 15;
    m->n_rows_frozen = 11;
    m->n_rows_appendable = 4;
    m->n_rows_skipped = 2;
    m->largest_id = UINT64_MAX - 1;
    m->next_row = 17;
    m->n_segments = 3;
    CHECK_OK(rt_manifest_add_heap(m, &heaps[0], &err));
    CHECK_OK(rt_manifest_add_heap(m, &heaps[1], &err));
    m->n_own_heaps = 1;
    m->sample = (struct rt_row_sample){.n_blocks = 2, .blocks = {{2, 5, {1, 2}}, {9, 12, {3, 4}}}};
    m->n_files = 2;
    CHECK_OK(rt_array_zero(2, sizeof *m->files, &m->files, &err));
    m->files[0].kind = RT_FILE_TREE;
    m->files[0].number = 2;
    m->files[0].size = 5000;
    m->files[0].n_ranges = 2;
    m->files[0].ranges[0] = (struct rt_h5_range){100, 50};
    m->files[0].ranges[1] = (struct rt_h5_range){150, 4850};
    m->files[1].kind = RT_FILE_VECTORS;
    m->files[1].number = 12;
    (void)json_object_set_new(m->options, "lists", json_pack("{s:s}", "value", "7,100"));
    (void)json_object_set_new(m->build, "seconds", json_real(0.1));
    (void)json_array_append_new(m->history, json_pack("{s:s}", "job", "build"));
    return m;
}

RT_TEST("a manifest is read back as it was written")
{
    struct rt_manifest *m = make_manifest();
    struct rt_manifest *n = NULL;
    char *text = NULL;
    char *again = NULL;
    size_t n_bytes = 0;
    size_t n_again = 0;
    REQUIRE(m);
    CHECK_OK(rt_manifest_print(m, &text, &n_bytes, &err));
    CHECK_OK(rt_manifest_parse("m", text, n_bytes, &n, &err));
    REQUIRE(n);
    CHECK_OK(rt_manifest_print(n, &again, &n_again, &err));
    CHECK(n_bytes == n_again && memcmp(text, again, n_bytes) == 0);
    CHECK(n->rotation_seed == UINT64_MAX && n->largest_id == UINT64_MAX - 1 &&
          n->fingerprint.high == UINT64_MAX && n->digest.low == UINT64_MAX);
    CHECK(n->n_heaps == 2 && strcmp(n->heaps[0].path, "a\xff\xfe'.fvecs") == 0 &&
          n->heaps[0].mtime_ns == -5 && n->heaps[0].may_grow && !n->heaps[1].may_grow);
    CHECK(n->heaps[0].dataset == NULL && strcmp(n->heaps[1].dataset, "/train") == 0 &&
          n->heaps[1].first_row == 10);
    CHECK(n->sample.n_blocks == 2 && n->sample.blocks[1].hash.high == 4 &&
          rt_manifest_own_rows(n) == 12 && n->n_own_heaps == 1);
    CHECK(n->n_files == 2 && n->files[0].ranges[1].bytes == 4850);
    CHECK(rt_manifest_find(n, RT_FILE_VECTORS, 12) == &n->files[1] &&
          !rt_manifest_find(n, RT_FILE_VECTORS, 11));
    rt_manifest_free(m);
    rt_manifest_free(n);
    rt_array_free(text);
    rt_array_free(again);
}

/* Replaces the first `from` in a good manifest and reads it. */
static enum rt_status read_changed(const char *from, const char *to)
{
    struct rt_manifest *m = make_manifest();
    struct rt_manifest *n = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    enum rt_status st = rt_manifest_print(m, &text, &n_bytes, &err);
    char *at = text ? strstr(text, from) : NULL;
    char *changed = calloc(1, n_bytes + strlen(to) + 1);
    if (!at) {
        RT_TEST_FAILED("no %s in the manifest", from);
    } else {
        memcpy(changed, text, (size_t)(at - text));
        strcat(changed, to);
        strcat(changed, at + strlen(from));
        st = rt_manifest_parse("m", changed, strlen(changed), &n, &err);
    }
    rt_manifest_free(m);
    rt_manifest_free(n);
    rt_array_free(text);
    free(changed);
    return st;
}

static unsigned until_failure;

static void *fail_once(size_t n)
{
    return until_failure-- == 0 ? NULL : malloc(n);
}

/* A name may be written in either of two ways. */
static bool says_the_same(const char *text, size_t n, const char *whole, size_t n_whole)
{
    struct rt_manifest *m = NULL;
    char *again = NULL;
    size_t n_again = 0;
    bool is_same = rt_manifest_parse("m", text, n, &m, &err) == RT_OK &&
                   rt_manifest_print(m, &again, &n_again, &err) == RT_OK && n_again == n_whole &&
                   memcmp(again, whole, n_again) == 0;
    rt_array_free(again);
    rt_manifest_free(m);
    return is_same;
}

RT_TEST("a manifest is written whole or not at all, whichever allocation fails")
{
    struct rt_manifest *m = make_manifest();
    char *whole = NULL;
    size_t n_whole = 0;
    unsigned n_failed = 0;
    REQUIRE(m);
    m->files[1].kind = RT_FILE_APPENDABLE;
    CHECK_OK(rt_manifest_print(m, &whole, &n_whole, &err));
    for (unsigned at = 0; at < 2000; at++) {
        char *text = NULL;
        size_t n = 0;
        until_failure = at;
        json_set_alloc_funcs(fail_once, free);
        enum rt_status st = rt_manifest_print(m, &text, &n, &err);
        json_set_alloc_funcs(malloc, free);
        n_failed += st == RT_NOMEM;
        if (st != RT_OK && st != RT_NOMEM)
            RT_TEST_FAILED("allocation %u fails: status %d", at, (int)st);
        if (st == RT_OK && !says_the_same(text, n, whole, n_whole))
            RT_TEST_FAILED("allocation %u fails: another text", at);
        rt_array_free(text);
    }
    CHECK(n_failed > 100 && n_failed < 2000); /* each that is made, and there are no more */
    rt_array_free(whole);
    rt_manifest_free(m);
}

RT_TEST("every field is checked, and a newer format refused with both versions named")
{
    CHECK_STATUS(RT_USAGE, read_changed("\"version\": 1", "\"version\": 2"));
    CHECK(strstr(err.text, "version 2") && strstr(err.text, "to 1"));
    CHECK_STATUS(RT_DAMAGED, read_changed("ranktape index", "other index"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"version\": 1", "\"version\": \"1\""));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"dimension\": 96", "\"dimension\": 0"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"dimension\": 96", "\"dimension\": 65536"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"dimension\": 96", "\"dimension\": 96.0"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"dimension\": 96,", ""));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"cosine\"", "\"cos\""));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"f16\"", "\"f8\""));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"residual\": true", "\"residual\": 1"));
    CHECK_STATUS(RT_DAMAGED, read_changed("18446744073709551615", "18446744073709551616"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"rows\": 15", "\"rows\": -15"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"rows\": 15", "\"rows\": 9223372036854775808"));
    CHECK_STATUS(RT_DAMAGED, read_changed("tree-2.h5", "../tree-2.h5"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"kind\": \"tree\"", "\"kind\": \"trie\""));
    CHECK_STATUS(RT_DAMAGED, read_changed("4850", "4851"));
    CHECK_STATUS(RT_DAMAGED, read_changed("150,", "149,"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"files\": [", "\"files\": [7,"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"heaps\": [", "\"heaps\": [{},"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"own_heaps\": 1", "\"own_heaps\": 3"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"sample\": ", "\"simple\": "));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"may_grow\": true", "\"may_grow\": 1"));
    CHECK_STATUS(RT_DAMAGED, read_changed("0003\"", "000\""));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"sample\": [", "\"sample\": [[3, 4],"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"61fffe", "\"61fffg"));
    CHECK_STATUS(RT_DAMAGED, read_changed("61fffe", "61fff"));
    CHECK_STATUS(RT_DAMAGED, read_changed("61fffe", "610000"));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"history\": [", "\"history\": {}, \"more\": ["));
    CHECK_STATUS(RT_DAMAGED, read_changed("\"beam\": 5", "\"beam\": 5, \"beam\": 6"));
    CHECK_STATUS(RT_OK, read_changed("\"beam\": 5", "\"beam\": 5, \"unknown\": 6"));
}

RT_TEST("a manifest cut short or with any byte changed is read or refused, never more")
{
    struct rt_manifest *m = make_manifest();
    char *text = NULL;
    size_t n_bytes = 0;
    REQUIRE(m);
    CHECK_OK(rt_manifest_print(m, &text, &n_bytes, &err));
    for (size_t n = 0; n < n_bytes; n += n + 20 < n_bytes ? 7 : 1) {
        struct rt_manifest *read = NULL;
        enum rt_status st = rt_manifest_parse("m", text, n, &read, &err);
        CHECK(st == RT_DAMAGED || n + 1 == n_bytes);
        rt_manifest_free(read);
    }
    for (uint64_t i = 0; i < 3000; i++) {
        struct rt_manifest *read = NULL;
        size_t at = (size_t)rt_random_below(rt_random(5, RT_RANDOM_TEST, i, 0, 0), n_bytes);
        char before = text[at];
        text[at] = (char)rt_random(5, RT_RANDOM_TEST, i, 1, 0);
        enum rt_status st = rt_manifest_parse("m", text, n_bytes, &read, &err);
        CHECK(st == RT_OK || st == RT_DAMAGED || st == RT_USAGE);
        rt_manifest_free(read);
        text[at] = before;
    }
    rt_manifest_free(m);
    rt_array_free(text);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0)
        RT_TEST_FAILED("cannot write %s", path);
    if (file)
        (void)fclose(file);
}

RT_TEST("CURRENT names a manifest with its hash, and nothing else will do")
{
    struct rt_manifest *m = make_manifest();
    struct rt_manifest *read = NULL;
    char *line = NULL;
    size_t n = 0;
    char changed[200];
    REQUIRE(m);
    CHECK(mkdir("current", 0777) == 0);
    CHECK_OK(rt_manifest_publish("current", m, NULL, &err));
    CHECK_OK(rt_manifest_read_current("current", &read, &err));
    CHECK(read && read->generation == 12);
    CHECK_OK(rt_fs_read_small("current/CURRENT", 200, &line, &n, &err));
    REQUIRE(line);
    (void)snprintf(changed, sizeof changed, "%s ", line);
    write_text("current/CURRENT", changed);
    CHECK_STATUS(RT_DAMAGED, rt_manifest_read_current("current", &read, &err));
    (void)snprintf(changed, sizeof changed, "%s", line);
    changed[20] = changed[20] == '0' ? '1' : '0';
    write_text("current/CURRENT", changed);
    CHECK_STATUS(RT_DAMAGED, rt_manifest_read_current("current", &read, &err));
    write_text("current/CURRENT", "../manifest-12.json 00000000000000000000000000000000\n");
    CHECK_STATUS(RT_DAMAGED, rt_manifest_read_current("current", &read, &err));
    write_text("current/CURRENT", "");
    CHECK_STATUS(RT_DAMAGED, rt_manifest_read_current("current", &read, &err));
    write_text("current/CURRENT", line);
    CHECK(rename("current/manifest-12.json", "current/manifest-13.json") == 0);
    CHECK_STATUS(RT_DAMAGED, rt_manifest_read_current("current", &read, &err));
    rt_manifest_free(read);
    rt_manifest_free(m);
    rt_array_free(line);
    CHECK(unlink("current/CURRENT") == 0 && unlink("current/manifest-13.json") == 0 &&
          rmdir("current") == 0);
}

RT_TEST("only names of our own are ours")
{
    const char *ours[] = {"CURRENT",
                          "CURRENT.partial",
                          "LOCK",
                          "checkpoint",
                          "manifest-1.json",
                          "tree-0.h5",
                          "vectors-18.h5.partial",
                          "frozen-7.h5",
                          "tombstones-2.h5",
                          "manifest-9.json.partial",
                          "LOCK.0123456789abcdef0123456789abcdef"};
    const char *theirs[] = {"current",    "tree-.h5",       "tree-1.h5x",
                            "tree-01.h5", "tree-1.hdf5",    "manifest.json",
                            "LOCK.txt",   "LOCKS",          "vectors-1.json",
                            "tree--1.h5", "checkpoint.old", "tree-1.h5.partial2",
                            "rows.fvecs", ".something",     "tree-99999999999999999999.h5"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (!rt_index_name_is_ours(ours[i]))
            RT_TEST_FAILED("%s is ours", ours[i]);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if (rt_index_name_is_ours(theirs[i]))
            RT_TEST_FAILED("%s is not ours", theirs[i]);
}

static enum rt_index_state state_of(const char *dir)
{
    enum rt_index_state state = RT_INDEX_FOREIGN;
    CHECK_OK(rt_index_dir_state(dir, &state, &err));
    return state;
}

RT_TEST("an index directory is made, refused, cleaned and taken back as its state asks")
{
    struct rt_index_dir_begin begin;
    uint64_t n = 0;
    char path[RT_PATH_MAX];
    CHECK_STATUS(RT_USAGE, rt_index_dir_begin("no/parent/x", true, true, &begin, &err));
    CHECK(state_of("x") == RT_INDEX_MISSING);
    CHECK_STATUS(RT_USAGE, rt_index_dir_require("x", &err));
    CHECK_OK(rt_index_dir_begin("x/", false, false, &begin, &err));
    CHECK(begin.made && begin.generation == 1 && state_of("x") == RT_INDEX_EMPTY);

    /* a job that failed: everything of it is gone, the directory too */
    write_text("x/tree-1.h5.partial", "");
    write_text("x/vectors-1.h5", "");
    CHECK_OK(rt_index_checkpoint_dir("x", path, &err));
    write_text("x/checkpoint/job", "");
    CHECK(state_of("x") == RT_INDEX_UNFINISHED);
    rt_index_dir_undo("x", &begin);
    CHECK(state_of("x") == RT_INDEX_MISSING);

    /* killed: unfinished */
    CHECK(mkdir("x", 0777) == 0);
    write_text("x/LOCK", "");
    write_text("x/tree-1.h5.partial", "");
    CHECK_STATUS(RT_USAGE, rt_index_dir_begin("x", false, false, &begin, &err));
    CHECK(strstr(err.text, "--resume") != NULL);
    CHECK_STATUS(RT_USAGE, rt_index_dir_require("x", &err));
    CHECK_OK(rt_index_dir_begin("x", false, true, &begin, &err));
    rt_index_dir_undo("x", &begin);
    CHECK(access("x/tree-1.h5.partial", F_OK) == 0);

    /* published: replaced only by force, beside files that are not ours */
    write_text("x/CURRENT", "manifest-4.json\n");
    write_text("x/manifest-4.json", "");
    write_text("x/tree-4.h5", "");
    write_text("x/notes.txt", "");
    CHECK(state_of("x") == RT_INDEX_PUBLISHED);
    CHECK_OK(rt_index_dir_require("x", &err));
    CHECK_STATUS(RT_USAGE, rt_index_dir_begin("x", false, false, &begin, &err));
    CHECK_OK(rt_index_dir_begin("x", true, false, &begin, &err));
    CHECK(!begin.made && begin.generation == 5);
    write_text("x/tree-5.h5", "");
    rt_index_dir_undo("x", &begin);
    CHECK(access("x/tree-5.h5", F_OK) != 0 && access("x/tree-4.h5", F_OK) == 0);

    struct rt_manifest *m = make_manifest(); /* generation 12 with tree-2 and vectors-12 */
    REQUIRE(m);
    const struct rt_manifest *keep[] = {m, NULL};
    write_text("x/tree-2.h5", "");
    write_text("x/vectors-12.h5", "");
    write_text("x/manifest-12.json", "");
    CHECK_OK(rt_index_checkpoint_dir("x", path, &err));
    CHECK_OK(rt_index_dir_clean("x", keep, 2, &n, &err));
    CHECK(n == 3); /* tree-1.partial, tree-4, manifest-4 */
    CHECK(access("x/tree-2.h5", F_OK) == 0 && access("x/vectors-12.h5", F_OK) == 0);
    CHECK(access("x/manifest-12.json", F_OK) == 0 && access("x/CURRENT", F_OK) == 0);
    CHECK(access("x/LOCK", F_OK) == 0 && access("x/notes.txt", F_OK) == 0 &&
          access("x/checkpoint", F_OK) != 0);
    rt_manifest_free(m);

    /* never a directory that is not an index */
    CHECK(unlink("x/CURRENT") == 0);
    CHECK(state_of("x") == RT_INDEX_FOREIGN);
    CHECK_STATUS(RT_USAGE, rt_index_dir_begin("x", true, true, &begin, &err));
    CHECK_STATUS(RT_USAGE, rt_index_dir_require("x", &err));
    CHECK(state_of("x/notes.txt") == RT_INDEX_FOREIGN);
    CHECK(unlink("x/notes.txt") == 0);
    CHECK_OK(rt_index_dir_clean("x", NULL, 0, NULL, &err));
    CHECK(unlink("x/LOCK") == 0 && rmdir("x") == 0);
}

RT_TEST("a checkpoint that is a link is not followed")
{
    CHECK(mkdir("victim", 0777) == 0 && mkdir("y", 0777) == 0);
    write_text("victim/precious", "");
    CHECK(symlink("../victim", "y/checkpoint") == 0);
    CHECK_OK(rt_index_remove_checkpoint("y", &err));
    CHECK(access("victim/precious", F_OK) == 0);
    CHECK(unlink("victim/precious") == 0 && rmdir("victim") == 0 && unlink("y/checkpoint") == 0 &&
          rmdir("y") == 0);
}

RT_TEST("what others keep in a checkpoint/ makes it no unfinished build, and stays")
{
    static const char *const ours[] = {"job",      "job.before",          "compact-1-0.partial",
                                       "trained",  "training-lists-3-12", "cells-1-0-7",
                                       "insert-2", "progress.json"};
    static const char *const theirs[] = {"model.pt", "checkpoint", "jobs", "trained.before.bak"};
    char path[64];
    CHECK(mkdir("z", 0777) == 0 && mkdir("z/checkpoint", 0777) == 0);
    CHECK(state_of("z") == RT_INDEX_UNFINISHED);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        (void)snprintf(path, sizeof path, "z/checkpoint/%s", ours[i]);
        write_text(path, "");
    }
    CHECK(state_of("z") == RT_INDEX_UNFINISHED);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        (void)snprintf(path, sizeof path, "z/checkpoint/%s", theirs[i]);
        write_text(path, "");
        CHECK(state_of("z") == RT_INDEX_FOREIGN);
        CHECK_OK(rt_index_remove_checkpoint("z", &err));
        CHECK(access("z/checkpoint/job", F_OK) != 0);
        CHECK(unlink(path) == 0);
    }
    CHECK(state_of("z") == RT_INDEX_UNFINISHED);
    CHECK_OK(rt_index_remove_checkpoint("z", &err));
    CHECK(rmdir("z") == 0);
}

RT_TEST("where an index is asked for, a missing folder above is no matter of its own")
{
    CHECK_STATUS(RT_USAGE, rt_index_dir_require("no/such", &err));
    CHECK(strcmp(err.text, "there is no index 'no/such'") == 0);
}

RT_TEST_MAIN()
