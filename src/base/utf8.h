/*
 * utf8 - is text UTF-8, and how does a code point look in it (RFC 3629).
 */
#ifndef HEARSAY_BASE_UTF8_H
#define HEARSAY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* No overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(struct slice s);

/*
 * s as text that is UTF-8, for who reads nothing else: a byte that is part of no
 * character is \xNN.  No two texts become one: a backslash that would read as the
 * beginning of such a thing is \x5c.  All other text stays as it is.
 */
void utf8_show(struct buf *b, struct slice s);

/* How many characters begin in s: bytes that go on with one do not count. */
size_t utf8_length(struct slice s);

/* 0, or -1 for a surrogate or a number above U+10FFFF: nothing is added then. */
int utf8_add(struct buf *b, uint32_t code);

#endif
