/* Sizes, durations and counts as people write and read them. Powers of 1024; no locale. */
#ifndef RT_CORE_UNITS_H
#define RT_CORE_UNITS_H

#include <stdint.h>

#define RT_UNITS_TEXT 40 /* enough for every text below */

/* Each returns 0 and sets *out, or -1 (text is not one, negative, too large) and leaves *out alone.
 */
/* '4096', '512M', '1.5T', also 'K' 'G' 'P', lower case, and with 'iB' behind; rounded down to whole
 * bytes. */
int rt_units_parse_bytes(const char *text, uint64_t *out);
/* Seconds: '90', '0.5', '90s', '5m', '2h', 'H:MM:SS'. */
int rt_units_parse_seconds(const char *text, double *out);
/* '1000000': decimal digits only. */
int rt_units_parse_count(const char *text, uint64_t *out);

/* Each writes into text (RT_UNITS_TEXT bytes) and returns it. */
char *rt_units_bytes(uint64_t n_bytes, char *text);            /* '17 bytes', '64.2 MiB' */
char *rt_units_byte_rate(double bytes_per_second, char *text); /* '64.2 MiB/s' */
char *rt_units_count(uint64_t n, char *text);                  /* '1,000,000' */
char *rt_units_rate(double per_second,
                    char *text); /* three digits: '526,000', '6,120', '12.3', '0.05' */
char *rt_units_seconds(double seconds,
                       char *text); /* '0.4 s', '3.1 s', '1:02:03' from 100 s on as 'M:SS' */
char *rt_units_left(double seconds, char *text); /* time left: '0:02', '12:34', '1:02:03' */

#endif
