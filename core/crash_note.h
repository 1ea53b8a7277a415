/* What this thread hands to a library that a damaged file may make crash, for the last line of a
 * handler (mpi/signals.c): the room that calls the library knows no signals. */
#ifndef RT_CORE_CRASH_NOTE_H
#define RT_CORE_CRASH_NOTE_H

/* name (a path) is lent until the next call of this thread; NULL: nothing any more. */
void rt_crash_note_set(const char *name);
const char *rt_crash_note(void); /* may be called in a signal handler */

#endif
