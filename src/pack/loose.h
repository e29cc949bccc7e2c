/*
 * loose - could a text move what a regex captures?
 *
 * Whoever chooses a text in a line, and finds a part of the pattern that takes
 * any text before a user's name, can write the rest of the line and the name
 * himself.  So such a part is found, wherever it came from.
 */
#ifndef HEARSAY_PACK_LOOSE_H
#define HEARSAY_PACK_LOOSE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Do the first len bytes of regex hold something that takes any text: a dot, or
 * what is as good as one, that may be repeated by itself or with the group it
 * stands in?  What only looks ahead or behind takes nothing, and one byte behind
 * a backslash (a quote within quotes) is not any text.
 */
bool loose_before(const char *regex, size_t len);

#endif
