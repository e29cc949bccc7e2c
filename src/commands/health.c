#include "commands/health.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "decode/record.h"
#include "match/match.h"
#include "pack/pack.h"

#define MINUTE_MS (60 * INT64_C(1000))
#define LATELY 1000      /* lines; then older ones count half */
#define UNKNOWN_LEAST 20 /* and more than one in UNKNOWN_SHARE */
#define UNKNOWN_SHARE 5

/*
 * So much without a sentinel, for so long: a busy log shows it within the hour,
 * and one whose level was raised writes little and is found out after a day.
 */
static const struct {
	uint64_t bytes;
	int64_t ms;
} bounds[] = {
    {8 * 1024 * 1024, 60 * MINUTE_MS},
    {16 * 1024, 24 * 60 * MINUTE_MS},
};

void
health_init(struct health *h, const struct pack *pack)
{
	size_t i;

	*h = (struct health){.pack = pack};
	for (i = 0; i < pack->rule_count; i++)
		h->watched = h->watched || pack->rules[i].sentinel;
}

/*
 * A line may be a user's and lie about the time: none is of a time that has not
 * come, and the clock never goes back.
 */
static int64_t
clock_of(const struct health *h, int64_t line_ms, int64_t written_ms)
{
	int64_t now = h->timed ? line_ms : written_ms;

	if (now > written_ms)
		now = written_ms;
	return h->begun && now < h->now ? h->now : now;
}

void
health_chunk(struct health *h, size_t len, int64_t line_ms, int64_t written_ms)
{
	if (!h->timed && line_ms != INT64_MIN) {
		h->timed = true;
		h->begun = false; /* so far its clock was another */
	}
	h->now = clock_of(h, line_ms, written_ms);
	if (!h->begun) {
		h->begun = true;
		h->since = h->now;
	}
	h->bytes += len;
}

/* A rule of the record's logger has its words in another form, and no other rule knows it. */
static bool
is_unknown(const struct health *h, struct matcher *m, const struct record *record,
    struct arena *a)
{
	struct slice message = record->part[PART_MESSAGE];
	bool unknown = false;
	size_t i;

	for (i = 0; i < h->pack->rule_count; i++) {
		const struct pack_rule *rule = &h->pack->rules[i];

		if (rule->logger == NULL || message.len == 0 ||
		    memmem(message.p, message.len, rule->pattern->literal,
			strlen(rule->pattern->literal)) == NULL)
			continue;
		switch (matcher_try(m, record, rule, a)) {
		case MISS_TEXT:
			unknown = true;
			break;
		case MISS_NOTHING:
		case MISS_LEVEL:
		case MISS_FIELD:
		case MISS_VALUE: /* another server's user, mostly */
			return false;
		case MISS_FORMAT: /* it says nothing of such lines */
		case MISS_LOGGER:
			break;
		}
	}
	return unknown;
}

void
health_line(struct health *h, struct matcher *m, const struct record *record,
    const struct match *matches, size_t count, struct arena *a)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (matches[i].rule->sentinel) {
			h->bytes = 0;
			h->since = h->now;
		}
	if (count > 0) {
		h->known++;
	} else if (is_unknown(h, m, record, a)) {
		h->unknown++;
		h->unknown_ever++;
	}
	if (h->known + h->unknown >= LATELY) {
		h->known /= 2;
		h->unknown /= 2;
	}
}

static bool
is_silent(const struct health *h)
{
	size_t i;

	for (i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		if (h->watched && h->bytes >= bounds[i].bytes &&
		    h->now - h->since >= bounds[i].ms)
			return true;
	return false;
}

const char *
health_trouble(const struct health *h, struct arena *a)
{
	time_t since = (time_t)(h->since / 1000);
	char when[sizeof("2026-01-31 12:00:00")];
	struct tm tm;

	if (is_silent(h)) {
		(void)gmtime_r(&since, &tm);
		if (strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm) == 0)
			when[0] = '\0';
		return arena_printf(a,
		    "since %s UTC none of the lines came that a healthy log of %s keeps "
		    "showing: is its level too high, the server of a newer version, or "
		    "the pack another server's?",
		    when, h->pack->title);
	}
	if (h->unknown >= UNKNOWN_LEAST && h->unknown > h->known / UNKNOWN_SHARE)
		return arena_printf(a,
		    "many lines have the words of the pack \"%s\" in a form that it does "
		    "not know: is the server of a newer version?  `hearsay explain' shows "
		    "them",
		    h->pack->name);
	return "";
}
