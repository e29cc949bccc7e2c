/*
 * zone - local times of a time zone, told as UTC.
 *
 * A log line without a zone is in the zone that its log is configured with.
 * In autumn one local hour comes twice; a hint (the time of the line before)
 * tells which of the two is meant.  In spring one hour does not exist; such a
 * time is taken with the offset that held before the change.
 */
#ifndef HEARSAY_BASE_ZONE_H
#define HEARSAY_BASE_ZONE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct zone;

/*
 * Open an IANA zone ("Europe/Berlin", "UTC"), or the system's where name is
 * NULL.  NULL on error (no such zone).
 */
struct zone *zone_open(const char *name, struct err *e);
void zone_close(struct zone *z);

/*
 * Local milliseconds (the civil time counted as if it were UTC) to UTC
 * milliseconds since 1970.  hint: the UTC time of the line before in the same
 * log, or INT64_MIN where there is none (then the earlier of two is taken).
 */
int64_t zone_to_utc(const struct zone *z, int64_t local_ms, int64_t hint);

/* Does the local time of utc_ms come twice? */
bool zone_repeats(const struct zone *z, int64_t utc_ms);

#endif
