#include "core/kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <float.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#ifdef __FAST_MATH__
#error "ranktape must not be compiled with fast-math (A2)"
#endif
_Static_assert(FLT_EVAL_METHOD == 0, "floats must be computed as floats (A2)");

static const char *const names[RT_N_ISAS] = {"portable",   "avx2", "avx512",  "avx512_vnni",
                                             "avx512_amx", "neon", "neon_dot"};

const char *rt_isa_name(enum rt_isa isa)
{
    return names[isa];
}

static atomic_bool asks_nothing;

void rt_kernels_ask_nothing(void)
{
    atomic_store(&asks_nothing, true);
}

#if defined(__x86_64__)
/* clang 14 does not know f16c by name. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* Linux grants the tiles' registers to processes that ask for them, since they make their signal
 * frames larger (arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)); other systems, and older kernels, do
 * not know the question. */
static int has_amx(void)
{
#ifdef SYS_arch_prctl
    unsigned a, b, c, d;
    if (atomic_load(&asks_nothing) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 24) ||
        !(d & 1u << 25))
        return 0;
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}
#endif

int rt_isa_is_here(enum rt_isa isa)
{
    if (isa == RT_ISA_PORTABLE)
        return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
                   __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                   __builtin_cpu_supports("popcnt");
    if (isa == RT_ISA_AVX2)
        return has_avx2;
    if (isa == RT_ISA_AVX512)
        return has_avx2 && has_avx512();
    if (isa == RT_ISA_AVX512_VNNI)
        return has_avx2 && has_avx512() && __builtin_cpu_supports("avx512vnni");
    if (isa == RT_ISA_AVX512_AMX)
        return has_avx2 && has_avx512() && __builtin_cpu_supports("avx512vnni") && has_amx();
#elif defined(__aarch64__)
    if (isa == RT_ISA_NEON)
        return 1;
    if (isa == RT_ISA_NEON_DOT)
        return (getauxval(AT_HWCAP) & (1UL << 20)) != 0; /* HWCAP_ASIMDDP */
#endif
    return 0;
}

void rt_kernels_of(enum rt_isa isa, struct rt_kernels *out)
{
    struct rt_kernels table;
    memset(&table, 0, sizeof table);
    rt_kernels_portable(&table);
    rt_scan_kernels_portable(&table.scan);
#if defined(__x86_64__)
    if (isa >= RT_ISA_AVX2) {
        rt_kernels_avx2(&table);
        rt_scan_kernels_avx2(&table.scan);
    }
    if (isa >= RT_ISA_AVX512) {
        rt_kernels_avx512(&table);
        rt_scan_kernels_avx512(&table.scan);
    }
    if (isa >= RT_ISA_AVX512_VNNI) {
        rt_kernels_avx512_vnni(&table);
        if (__builtin_cpu_supports("avx512vbmi")) /* the first CPUs with VNNI have it not */
            rt_scan_kernels_avx512_vbmi(&table.scan);
    }
    if (isa >= RT_ISA_AVX512_AMX)
        rt_kernels_avx512_amx(&table);
#elif defined(__aarch64__)
    if (isa >= RT_ISA_NEON) {
        rt_kernels_neon(&table);
        rt_scan_kernels_neon(&table.scan);
    }
    if (isa >= RT_ISA_NEON_DOT)
        rt_kernels_neon_dot(&table);
#endif
    table.isa = isa;
    *out = table;
}

static enum rt_isa best_here(void)
{
    int best = RT_ISA_PORTABLE;
    for (int isa = 0; isa < RT_N_ISAS; isa++)
        if (rt_isa_is_here((enum rt_isa)isa))
            best = isa;
    return (enum rt_isa)best;
}

static struct rt_kernels chosen;
static enum rt_isa wanted; /* by RANKTAPE_ISA; RT_N_ISAS: not to be had */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    const char *name = getenv("RANKTAPE_ISA");
    enum rt_isa isa = best_here();
    wanted = isa;
    if (name && *name) {
        wanted = RT_N_ISAS;
        for (int i = 0; i < RT_N_ISAS; i++)
            if (strcmp(name, names[i]) == 0 && rt_isa_is_here((enum rt_isa)i))
                wanted = isa = (enum rt_isa)i;
    }
    rt_kernels_of(isa, &chosen);
}

const struct rt_kernels *rt_kernels(void)
{
    (void)pthread_once(&once, choose);
    return &chosen;
}

enum rt_status rt_kernels_init(struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char list[128] = "";
    (void)rt_kernels();
    if (wanted != RT_N_ISAS)
        goto done;
    for (int isa = 0; isa < RT_N_ISAS; isa++)
        if (rt_isa_is_here((enum rt_isa)isa)) {
            strncat(list, list[0] ? ", " : "", sizeof list - strlen(list) - 1);
            strncat(list, names[isa], sizeof list - strlen(list) - 1);
        }
    RT_FAIL(RT_USAGE, "RANKTAPE_ISA is '%.40s', but this machine has only: %s",
            getenv("RANKTAPE_ISA") ? getenv("RANKTAPE_ISA") : "", list);
done:
    return st;
}
