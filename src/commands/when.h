/*
 * when - times as people write and read them.
 */
#ifndef HEARSAY_COMMANDS_WHEN_H
#define HEARSAY_COMMANDS_WHEN_H

#include <stdint.h>

struct arena;

/*
 * 2026-01-31T12:00:00Z, or a date alone for its first moment; without a zone in
 * the system's.  -1 where text is no time.
 */
int when_parse(const char *text, int64_t *ms_r);

/* "2026-11-23 09:46:28 UTC, 3 s ago", ", in 3 s", or "never" for 0; in the arena. */
const char *when_text(int64_t ms, int64_t now, struct arena *a);

#endif
