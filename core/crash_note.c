#include "core/crash_note.h"

static _Thread_local const char *note;

void rt_crash_note_set(const char *name)
{
    note = name;
}

const char *rt_crash_note(void)
{
    return note;
}
