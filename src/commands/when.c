#include "commands/when.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/zone.h"
#include "decode/timestamp.h"

int
when_parse(const char *text, int64_t *ms_r)
{
	const char *rest = strlen(text) == strlen("2026-01-31") ? " 00:00:00" : "";
	char *whole = xasprintf("%s%s", text, rest);
	struct zone *zone = zone_open(NULL, NULL);
	struct timestamp t;
	int rc = -1;

	if (zone != NULL && timestamp_parse(TIME_ISO, slice_of(whole), &t) == 0) {
		*ms_r = t.local ? zone_to_utc(zone, t.ms, INT64_MIN) : t.ms;
		rc = 0;
	}
	zone_close(zone);
	free(whole);
	return rc;
}

const char *
when_text(int64_t ms, int64_t now, struct arena *a)
{
	time_t seconds = (time_t)(ms / 1000);
	int64_t away = ms - now;
	char text[64];
	struct tm tm;

	if (ms == 0)
		return "never";
	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		return "at a time that is none";
	if (away > 0)
		return arena_printf(a, "%s, in %" PRId64 " s", text, away / 1000);
	return arena_printf(a, "%s, %" PRId64 " s ago", text, -away / 1000);
}
