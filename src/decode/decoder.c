#include "decode/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/zone.h"
#include "decode/envelope.h"
#include "decode/format.h"
#include "decode/timestamp.h"
#include "pack/pack.h"

#define ESC '\033'

/*
 * Do the lines end in CR LF?  They do as long as every line did; one that does
 * not shows that a CR at the end of another belonged to that line itself.
 */
enum line_end { END_UNKNOWN, END_CRLF, END_LF };

struct decoder {
	const struct pack *pack;
	const struct zone *zone;
	struct format_tools tools;
	enum format_kind kind; /* of the newest record's format */
	bool coloured;         /* a line was a record of a coloured format: all are */
	bool bare; /* a line was a record without any envelope: there is none */
	enum line_end outer_end, inner_end;
	int64_t last_ts;
};

struct decoder *
decoder_new(const struct pack *pack, const struct zone *zone)
{
	struct decoder *d = xcalloc(1, sizeof(*d));

	d->pack = pack;
	d->zone = zone;
	d->kind = pack->format_count > 0 ? pack->formats[0].kind : FORMAT_REGEX;
	d->last_ts = INT64_MIN;
	format_tools_init(&d->tools, pack);
	return d;
}

void
decoder_free(struct decoder *d)
{
	if (d == NULL)
		return;
	format_tools_clear(&d->tools);
	free(d);
}

static struct slice
cut_cr(enum line_end *end, struct slice line)
{
	bool cr = line.len > 0 && line.p[line.len - 1] == '\r';

	if (*end == END_UNKNOWN)
		*end = cr ? END_CRLF : END_LF;
	else if (!cr)
		*end = END_LF;
	if (*end == END_CRLF)
		line.len--;
	return line;
}

/* The length of the colour sequence at p (ESC [ numbers m), 0 if there is none. */
static size_t
colour_length(const char *p, size_t left)
{
	size_t n;

	if (left < 3 || p[0] != ESC || p[1] != '[')
		return 0;
	for (n = 2; n < left; n++)
		if ((p[n] < '0' || p[n] > '9') && p[n] != ';' && p[n] != ':')
			break;
	return n < left && p[n] == 'm' ? n + 1 : 0;
}

static struct slice
without_colours(struct slice line, struct arena *a)
{
	size_t in, out = 0, n;
	char *text;

	if (line.len == 0 || memchr(line.p, ESC, line.len) == NULL)
		return line;
	text = arena_alloc(a, line.len);
	for (in = 0; in < line.len; in += n) {
		n = colour_length(line.p + in, line.len - in);
		if (n == 0) {
			text[out++] = line.p[in];
			n = 1;
		}
	}
	return (struct slice){text, out};
}

/*
 * The time of a record.  envelope_ms is a better hint than the line before: it
 * was taken within moments of the line's own.  0, or -1 where the line's time
 * is none.
 */
static int
tell_time(
    const struct decoder *d, int64_t envelope_ms, int64_t fallback_ms, struct record *r)
{
	struct slice text = r->part[PART_TIME];
	struct timestamp ts;

	r->ts_of_line = r->format->time > TIME_BEFORE && text.p != NULL;
	if (!r->ts_of_line) {
		if (r->format->time == TIME_BEFORE && d->last_ts != INT64_MIN)
			fallback_ms = d->last_ts;
		r->ts = envelope_ms != INT64_MIN ? envelope_ms : fallback_ms;
		return 0;
	}
	if (timestamp_parse(r->format->time, text, &ts) == -1)
		return -1;
	r->ts = ts.ms;
	if (ts.local)
		r->ts = zone_to_utc(
		    d->zone, ts.ms, envelope_ms != INT64_MIN ? envelope_ms : d->last_ts);
	return 0;
}

static int
take_apart(struct decoder *d, const struct pack_format *f, struct slice line,
    struct record *r, struct arena *a)
{
	*r = (struct record){.format = f};
	if (f->coloured ? line.len == 0 || line.p[0] != ESC : d->coloured)
		return 0;
	if (f->ansi)
		line = without_colours(line, a);
	switch (f->kind) {
	case FORMAT_REGEX:
		return format_regex(&d->tools, f, line, r, a);
	case FORMAT_JSON:
		return format_json(&d->tools, f, line, r, a);
	case FORMAT_LOGFMT:
		return format_logfmt(&d->tools, f, line, r, a);
	}
	return 0;
}

/*
 * Try the pack's formats on a line that is out of its envelope: those of the
 * kind that fitted last, then the others.  Within a kind the pack's order
 * holds, for a format may be another one with a key less (Synapse's JSON
 * without a time), and must never win over it, not even once it fitted.
 */
static int
find_format(struct decoder *d, struct slice line, int64_t envelope_ms,
    int64_t fallback_ms, struct arena *a, struct record *r_r)
{
	const size_t count = d->pack->format_count;
	size_t n;

	for (n = 0; n < 2 * count; n++) {
		const struct pack_format *f = &d->pack->formats[n % count];

		if ((f->kind == d->kind) != (n < count) ||
		    !take_apart(d, f, line, r_r, a) ||
		    tell_time(d, envelope_ms, fallback_ms, r_r) == -1)
			continue;
		d->kind = f->kind;
		d->coloured = f->coloured;
		if (r_r->ts_of_line || envelope_ms != INT64_MIN)
			d->last_ts = r_r->ts;
		return 1;
	}
	return 0;
}

int
decoder_line(struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a,
    struct record *r_r)
{
	struct slice inner;
	int64_t envelope_ms;

	line = cut_cr(&d->outer_end, line);
	/* Once bare, always bare: else a user's text could pose as an envelope. */
	if (!d->bare &&
	    envelope_open(ENVELOPE_DOCKER_JSON, line, a, &inner, &envelope_ms)) {
		if (inner.p == NULL)
			return 0;
		inner = cut_cr(&d->inner_end, inner);
		return find_format(d, inner, envelope_ms, fallback_ms, a, r_r);
	}
	if (!find_format(d, line, INT64_MIN, fallback_ms, a, r_r))
		return 0;
	d->bare = true;
	return 1;
}

int64_t
decoder_last_ts(const struct decoder *d)
{
	return d->last_ts;
}

void
decoder_set_last_ts(struct decoder *d, int64_t ts)
{
	d->last_ts = ts;
}

uint64_t
decoder_match_errors(const struct decoder *d)
{
	return d->tools.gave_up;
}
