/* Fault points of test builds (RT_CHECKS): RANKTAPE_FAULT=point:rank[:n[:action]], several joined
 * by commas, makes the n-th (default first) and every later passage of this rank ("all": any)
 * through the point fail. Actions: `kill` ends the process there by SIGKILL; `stop` halts it once
 * by SIGSTOP, until a test has done something behind its back and sends SIGCONT. Points: open write
 * fsync rename remove read map malloc; near (ranks of a host send each other the records that they
 * could take from its pages), past_cache (small files are written as large ones are); and the names
 * of phases, which only kill and stop. Without RT_CHECKS RT_FAULT is a constant false. */
#ifndef RT_CORE_FAULT_H
#define RT_CORE_FAULT_H

#include <stdbool.h>

/* Which rank this process is, for the rank field (0 until told otherwise); the environment is read
 * anew. */
void rt_fault_set_rank(int rank);
/* Counts one passage through the point and says whether it shall fail. Any thread. */
bool rt_fault_hit(const char *point);

#ifdef RT_CHECKS
#define RT_FAULT(point) rt_fault_hit(point)
#else
#define RT_FAULT(point) false
#endif

#endif
