#include "jobs/progress_text.h"

#include <stdlib.h>
#include <string.h>

bool rt_progress_speaks_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < 3; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value) /* the first that is set decides */
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "utf-8");
    }
    return false;
}

char *rt_progress_bar(double fraction, int columns, bool is_utf8, char *text)
{
    int halves = (int)(fraction * 2 * columns);
    text[0] = '\0';
    for (int i = 0; i < columns; i++) {
        int part = halves - 2 * i; /* of this column: 2 and more full, 1 half */
        const char *sign = part >= 2 ? "\u2501" : part == 1 ? "\u2578" : "\u2500";
        if (!is_utf8)
            sign = part >= 2 ? "=" : part == 1 ? ">" : ".";
        (void)strcat(text, sign);
    }
    return text;
}
