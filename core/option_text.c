#include "core/option_text.h"

#include "core/units.h"

#include <stdio.h>
#include <string.h>

bool rt_option_has_auto(const struct rt_option *option)
{
    return strcmp(option->default_text, "auto") == 0;
}

bool rt_option_has_off(const struct rt_option *option)
{
    return option->type != RT_TYPE_FLAG && strcmp(option->default_text, "off") == 0;
}

const char *rt_option_value(const struct rt_option *option)
{
    if (option->type == RT_TYPE_FLAG)
        return strcmp(option->default_text, "off") == 0 ? "" : "on|off";
    return option->words;
}

void rt_option_describe(const struct rt_option *option, char text[RT_OPTION_TEXT])
{
    const char *value = option->default_text;
    bool is_plain = value[0] == '\0' || strcmp(value, "auto") == 0 ||
                    option->type == RT_TYPE_COUNT ||
                    (option->type == RT_TYPE_FLAG && strcmp(value, "off") == 0);
    if (is_plain)
        (void)snprintf(text, RT_OPTION_TEXT, "%s", option->help);
    else
        (void)snprintf(text, RT_OPTION_TEXT, "%s (default %s)", option->help, value);
}

void rt_option_range(const struct rt_option *option, char text[RT_OPTION_TEXT])
{
    char least[RT_UNITS_TEXT];
    char most[RT_UNITS_TEXT];
    const char *also = rt_option_has_auto(option)  ? ", or auto"
                       : rt_option_has_off(option) ? ", or off"
                                                   : "";
    switch (option->type) {
    case RT_TYPE_FLAG:
        (void)snprintf(text, RT_OPTION_TEXT, "on or off%s", also);
        break;
    case RT_TYPE_COUNT:
    case RT_TYPE_NUMBER:
        (void)snprintf(text, RT_OPTION_TEXT, "a whole number from %llu to %llu%s",
                       (unsigned long long)option->least, (unsigned long long)option->most, also);
        break;
    case RT_TYPE_REAL:
        (void)snprintf(text, RT_OPTION_TEXT, "a number from %g to %g%s", option->least_real,
                       option->most_real, also);
        break;
    case RT_TYPE_SIZE:
        (void)rt_units_bytes(option->least, least);
        (void)rt_units_bytes(option->most, most);
        (void)snprintf(text, RT_OPTION_TEXT, "a size such as 512M, 4G or 1.5T, from %s to %s%s",
                       least, most, also);
        break;
    case RT_TYPE_DURATION:
        (void)snprintf(text, RT_OPTION_TEXT,
                       "a time such as 90, 90s, 5m, 2h or 1:30:00, from %gs to %.15gs%s",
                       option->least_real, option->most_real, also);
        break;
    case RT_TYPE_WORD:
        (void)snprintf(text, RT_OPTION_TEXT, "one of %s%s", option->words, also);
        break;
    case RT_TYPE_TEXT:
        (void)snprintf(text, RT_OPTION_TEXT, "1 to %d bytes", RT_TEXT_BYTES - 1);
        break;
    case RT_TYPE_NUMBERS:
        (void)snprintf(text, RT_OPTION_TEXT,
                       "up to %d whole numbers parted by commas, each from %llu to %llu%s",
                       RT_MOST_NUMBERS, (unsigned long long)option->least,
                       (unsigned long long)option->most, also);
        break;
    case RT_TYPE_TEXTS:
        (void)snprintf(text, RT_OPTION_TEXT, "1 to %d bytes, at most %d times", RT_TEXT_BYTES - 1,
                       RT_MOST_TEXTS);
        break;
    case RT_TYPE_GATE:
        (void)snprintf(text, RT_OPTION_TEXT,
                       "a recall from %g to %g, with ',K' (1 to 1000) if not at 10%s",
                       option->least_real, option->most_real, also);
        break;
    }
}

bool rt_option_belongs(const struct rt_option *option, enum rt_job_id job,
                       enum rt_option_class class)
{
    return (option->jobs & 1u << job) && option->class == class;
}

bool rt_option_has_any(enum rt_job_id job, enum rt_option_class class)
{
    for (int i = 0; i < RT_N_OPTIONS; i++)
        if (rt_option_belongs(&rt_option_table[i], job, class))
            return true;
    return false;
}

const char *rt_option_class_title(enum rt_option_class class)
{
    static const char *const titles[RT_N_CLASSES] = {
        [RT_CLASS_NONE] = "Options",
        [RT_CLASS_RESULT] = "Options that decide the result (and the digest)",
        [RT_CLASS_LAYOUT] = "Options of the layout on disk",
        [RT_CLASS_RUN] = "Options of the run",
    };
    return titles[class];
}
