/*
 * scan - which lines of a buffer could matter at all.
 *
 * Every rule's pattern has a literal that stands in each of its matches
 * (pack/literal.h).  These are looked for in the whole buffer at once; a line
 * without any of them is never taken apart, and no regex runs on it.
 */
#ifndef HEARSAY_MATCH_SCAN_H
#define HEARSAY_MATCH_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct pack;
struct scan;

/* The scanner for pack's rules.  Copies what it needs. */
struct scan *scan_new(const struct pack *pack);
void scan_free(struct scan *s);

/* Begin with the len bytes of whole lines at data; borrowed until the next call of it. */
void scan_begin(struct scan *s, const char *data, size_t len);

/*
 * The next line that holds a literal, without its newline, its place in the
 * buffer through *offset_r: 1; 0 where there is none left.
 */
int scan_next(struct scan *s, struct slice *line_r, size_t *offset_r);

/*
 * The line behind the one that scan_next gave last, whatever it holds; it may
 * be given again by scan_next.  0 where the buffer ends.
 */
int scan_following(const struct scan *s, struct slice *line_r, size_t *offset_r);

#endif
