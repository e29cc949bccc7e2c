#include "base/zone.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define DAY 86400
#define SAMPLE_DAYS 47482         /* 1970-01-01 to 2100-01-01 */
#define REACH_MS (16LL * 3600000) /* no zone was ever further from UTC */
#define SLACK_MS (10LL * 60000)   /* lines of one log may be this far out of order */
#define ZONE_DIR "/usr/share/zoneinfo"

/* The offset that holds from from_ms on, until that of the next one. */
struct period {
	int64_t from_ms, offset_ms;
};

struct zone {
	struct period *periods; /* the first is from INT64_MIN on */
	size_t count;
};

/* ---- reading the zone, by way of the C library ------------------------------ */

static bool
name_is_safe(const char *name)
{
	return name[0] != '\0' && name[0] != '/' && strstr(name, "..") == NULL;
}

/* The C library takes any TZ that it can't read for UTC, so look at the file first. */
static bool
is_zone_file(const char *path)
{
	char magic[4];
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	n = read(fd, magic, sizeof(magic));
	(void)close(fd);
	return n == (ssize_t)sizeof(magic) && memcmp(magic, "TZif", sizeof(magic)) == 0;
}

/* A value for TZ (":/path"), malloc'd; NULL where there is no such zone. */
static char *
find_zone(const char *name)
{
	const char *dirs[] = {getenv("TZDIR"), ZONE_DIR};
	char *tz;
	size_t i;

	if (!name_is_safe(name))
		return NULL;
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (dirs[i] == NULL)
			continue;
		tz = xasprintf(":%s/%s", dirs[i], name);
		if (is_zone_file(tz + 1))
			return tz;
		free(tz);
	}
	return NULL;
}

static int64_t
offset_at(int64_t utc)
{
	time_t t = (time_t)utc;
	struct tm tm;

	return localtime_r(&t, &tm) == NULL ? 0 : (int64_t)tm.tm_gmtoff;
}

static void
add_period(struct zone *z, int64_t from_ms, int64_t offset)
{
	z->periods = xreallocarray(z->periods, z->count + 1, sizeof(*z->periods));
	z->periods[z->count++] =
	    (struct period){.from_ms = from_ms, .offset_ms = offset * 1000};
}

/* The second at which the offset becomes what it is at the end, within (begin, end]. */
static int64_t
find_change(int64_t begin, int64_t end)
{
	const int64_t after = offset_at(end);

	while (end - begin > 1) {
		int64_t middle = begin + (end - begin) / 2;

		if (offset_at(middle) == after)
			end = middle;
		else
			begin = middle;
	}
	return end;
}

static void
sample(struct zone *z)
{
	int64_t offset = offset_at(0), day;

	add_period(z, INT64_MIN, offset);
	for (day = 1; day <= SAMPLE_DAYS; day++) {
		int64_t now = offset_at(day * DAY);

		if (now == offset)
			continue;
		add_period(z, find_change((day - 1) * DAY, day * DAY) * 1000, now);
		offset = now;
	}
}

/* Make tz the process's zone, or the environment's own where it is NULL. */
static void
set_tz(const char *tz)
{
	if (tz == NULL)
		(void)unsetenv("TZ");
	else if (setenv("TZ", tz, 1) == -1)
		mem_exhausted();
	tzset();
}

/* Only at the start, before there are threads: TZ belongs to the whole process. */
static void
sample_as(struct zone *z, const char *tz)
{
	const char *now = getenv("TZ");
	char *saved = now == NULL ? NULL : xstrdup(now);

	set_tz(tz);
	sample(z);
	set_tz(saved);
	free(saved);
}

struct zone *
zone_open(const char *name, struct err *e)
{
	bool utc = name != NULL && strcmp(name, "UTC") == 0;
	char *tz = name == NULL || utc ? NULL : find_zone(name);
	struct zone *z;

	if (name != NULL && !utc && tz == NULL) {
		(void)err_set(e,
		    "there is no time zone \"%s\"; write an IANA name (Europe/Berlin, "
		    "UTC), or install tzdata",
		    name);
		return NULL;
	}
	z = xcalloc(1, sizeof(*z));
	if (utc) {
		add_period(z, INT64_MIN, 0);
	} else if (tz == NULL) {
		tzset();
		sample(z);
	} else {
		sample_as(z, tz);
	}
	free(tz);
	return z;
}

void
zone_close(struct zone *z)
{
	if (z == NULL)
		return;
	free(z->periods);
	free(z);
}

/* ---- local to UTC ------------------------------------------------------------ */

/* The period that utc_ms lies in. */
static size_t
period_at(const struct zone *z, int64_t utc_ms)
{
	size_t low = 0, high = z->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (z->periods[middle].from_ms <= utc_ms)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static int64_t
period_end(const struct zone *z, size_t i)
{
	return i + 1 < z->count ? z->periods[i + 1].from_ms : INT64_MAX;
}

/*
 * The later of two possible times is meant only if the earlier one would be a
 * jump back, and the later one is none.
 */
static int64_t
choose(int64_t earlier, int64_t later, int64_t hint)
{
	if (hint != INT64_MIN && earlier + SLACK_MS < hint && later + SLACK_MS >= hint)
		return later;
	return earlier;
}

int64_t
zone_to_utc(const struct zone *z, int64_t local_ms, int64_t hint)
{
	int64_t found[2], skipped = local_ms;
	size_t count = 0, i;

	for (i = period_at(z, local_ms - REACH_MS); i < z->count && count < 2; i++) {
		const struct period *p = &z->periods[i];
		int64_t utc = local_ms - p->offset_ms;

		if (p->from_ms > local_ms + REACH_MS)
			break;
		if (utc >= p->from_ms && utc < period_end(z, i))
			found[count++] = utc;
		else if (utc >= p->from_ms)
			skipped = utc; /* in a gap behind this period, if in none */
	}
	if (count == 0)
		return skipped;
	return count == 1 ? found[0] : choose(found[0], found[1], hint);
}

bool
zone_repeats(const struct zone *z, int64_t utc_ms)
{
	size_t i = period_at(z, utc_ms);
	const struct period *p = &z->periods[i];

	if (i > 0 && utc_ms < p->from_ms + p[-1].offset_ms - p->offset_ms)
		return true;
	return i + 1 < z->count &&
	    utc_ms >= p[1].from_ms - (p->offset_ms - p[1].offset_ms);
}
