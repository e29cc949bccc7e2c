#include "decode/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/zone.h"
#include "decode/format.h"
#include "decode/rest.h"
#include "decode/timestamp.h"
#include "pack/pack.h"

#define ESC '\033'
#define LOOK_LINES 64 /* of a log, to find its envelope */
#define CRLF_SURE 2   /* one line could be a user's */
#define CRLF_MOST 4

struct decoder {
	const struct pack *pack;
	const struct zone *zone;
	struct format_tools tools;
	enum format_kind kind; /* of the newest record's format */
	bool coloured;         /* a line was a record of a coloured format: all are */
	enum envelope_kind envelope;
	bool configured; /* the lines don't change it */
	struct join *join;
	struct rest rest;
	int crlf; /* lines that ended in CR LF against those that did not, within CRLF_MOST */
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
	d->join = join_new();
	format_tools_init(&d->tools, pack);
	return d;
}

void
decoder_free(struct decoder *d)
{
	if (d == NULL)
		return;
	format_tools_clear(&d->tools);
	join_free(d->join);
	free(d);
}

/*
 * What a power cut or a truncation under a writer that does not append leaves
 * before a line is none of it.
 */
static struct slice
plain_line(struct slice line)
{
	while (line.len > 0 && line.p[0] == '\0') {
		line.p++;
		line.len--;
	}
	return line;
}

static struct slice
without_cr(struct slice line)
{
	line.len -= line.len > 0 && line.p[line.len - 1] == '\r';
	return line;
}

void
decoder_ended(struct decoder *d, const struct record *r)
{
	if (r->cr)
		d->crlf += d->crlf < CRLF_MOST;
	else
		d->crlf -= d->crlf > -CRLF_MOST;
}

bool
decoder_knows_ends(const struct decoder *d)
{
	return abs(d->crlf) == CRLF_MOST;
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
 * What tells a local time from its twin.  An envelope's is better than that of the
 * line before: it was taken within moments of the line's own.  And no line is of
 * later than when it was written.
 */
static int64_t
hint_of(const struct decoder *d, int64_t envelope_ms, int64_t written_ms)
{
	if (envelope_ms != INT64_MIN)
		return envelope_ms;
	return d->last_ts < written_ms ? d->last_ts : written_ms;
}

/* The time of a record.  0, or -1 where the line's time is none. */
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
		r->ts = zone_to_utc(d->zone, ts.ms, hint_of(d, envelope_ms, fallback_ms));
	return 0;
}

static int
take_apart(struct decoder *d, const struct pack_format *f, struct slice line,
    const struct wrapped *w, struct record *r, struct arena *a)
{
	*r = (struct record){.format = f};
	if (f->kind == FORMAT_JOURNAL)
		return w->fields != NULL && format_journal(&d->tools, f, w, line, r, a);
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
	case FORMAT_JOURNAL:
		break;
	}
	return 0;
}

/* Around a line that stands in the log as it is. */
static const struct wrapped bare = {.ms = INT64_MIN};

/*
 * Try the pack's formats on a line that is out of its envelope w: those of the
 * kind that fitted last, then the others.  Within a kind the pack's order
 * holds, for a format may be another one with a key less (Synapse's JSON
 * without a time), and must never win over it, not even once it fitted.  An
 * entry of the journal is taken by its fields first, for its message may be of
 * a user's words alone.
 */
static int
find_format(struct decoder *d, struct slice line, const struct wrapped *w,
    int64_t fallback_ms, struct arena *a, struct record *r_r)
{
	const enum format_kind first = w->fields != NULL ? FORMAT_JOURNAL : d->kind;
	const size_t count = d->pack->format_count;
	size_t n;

	for (n = 0; n < 2 * count; n++) {
		const struct pack_format *f = &d->pack->formats[n % count];

		if ((f->kind == first) != (n < count) ||
		    !take_apart(d, f, line, w, r_r, a) ||
		    tell_time(d, w->ms, fallback_ms, r_r) == -1)
			continue;
		if (f->kind != FORMAT_JOURNAL) { /* which says nothing of lines */
			d->kind = f->kind;
			d->coloured = f->coloured;
		}
		r_r->timed = r_r->ts_of_line || (w->ms != INT64_MIN && !w->stray);
		return 1;
	}
	return 0;
}

/* ---- envelopes ------------------------------------------------------------------ */

static bool
unwrap(struct decoder *d, enum envelope_kind kind, struct slice line, int64_t fallback_ms,
    struct arena *a, struct wrapped *w_r)
{
	const struct envelope_clock clock = {d->zone, d->last_ts, fallback_ms};

	return envelope_open(kind, line, &clock, a, w_r);
}

/* What a line shows of its log's envelope; ENVELOPE_AUTO if nothing. */
static enum envelope_kind
envelope_of(struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a)
{
	struct record record;
	struct wrapped w;

	if (unwrap(d, ENVELOPE_DOCKER_JSON, line, fallback_ms, a, &w))
		return ENVELOPE_DOCKER_JSON;
	if (unwrap(d, ENVELOPE_CRI, line, fallback_ms, a, &w))
		return ENVELOPE_CRI;
	if (unwrap(d, ENVELOPE_JOURNAL, line, fallback_ms, a, &w))
		return ENVELOPE_JOURNAL;
	if (find_format(d, without_cr(line), &bare, fallback_ms, a, &record))
		return ENVELOPE_NONE;
	/* Other lines can look like syslog's: it must hold a record. */
	if (unwrap(d, ENVELOPE_SYSLOG, line, fallback_ms, a, &w) &&
	    find_format(d, without_cr(w.inner), &w, fallback_ms, a, &record))
		return ENVELOPE_SYSLOG;
	return ENVELOPE_AUTO;
}

/*
 * In an object no NUL stands as it is.  One shows half an object that a power cut
 * left, and behind the last of them is what was written since.  In a log whose
 * envelope is not known yet they may be a user's.
 */
static bool
unwrap_known(struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a,
    struct wrapped *w_r)
{
	const char *end = line.p + line.len, *nul = NULL;

	if (d->envelope == ENVELOPE_DOCKER_JSON || d->envelope == ENVELOPE_JOURNAL)
		nul = memrchr(line.p, '\0', line.len);
	if (nul != NULL)
		line = (struct slice){nul + 1, (size_t)(end - nul) - 1};
	return unwrap(d, d->envelope, line, fallback_ms, a, w_r);
}

void
decoder_set_envelope(struct decoder *d, enum envelope_kind kind)
{
	d->envelope = kind;
	d->configured = kind != ENVELOPE_AUTO;
}

/*
 * A line without envelope anywhere decides: a collector lets none through,
 * while a user may get something that looks like an envelope into a bare log.
 */
void
decoder_look(struct decoder *d, struct slice lines, int64_t fallback_ms, struct arena *a)
{
	const char *p = lines.p, *end = lines.p + lines.len, *newline;
	const struct decoder before = *d;
	enum envelope_kind found = ENVELOPE_AUTO, kind;
	unsigned n;

	for (n = 0; d->envelope == ENVELOPE_AUTO && n < LOOK_LINES && p < end; n++) {
		newline = memchr(p, '\n', (size_t)(end - p));
		if (newline == NULL)
			newline = end;
		kind = envelope_of(d,
		    plain_line((struct slice){p, (size_t)(newline - p)}), fallback_ms, a);
		if (kind == ENVELOPE_NONE || found == ENVELOPE_AUTO)
			found = kind;
		if (kind == ENVELOPE_NONE)
			break;
		p = newline < end ? newline + 1 : end;
	}
	/* The lines come again, and tell then what they tell. */
	d->kind = before.kind;
	d->coloured = before.coloured;
	if (d->envelope == ENVELOPE_AUTO)
		d->envelope = found;
}

void
decoder_gap(struct decoder *d)
{
	join_gap(d->join);
}

void
decoder_no_gap(struct decoder *d)
{
	join_no_gap(d->join);
}

bool
decoder_cut(const struct decoder *d, struct slice lines)
{
	const char *p = lines.p, *end = lines.p + lines.len, *newline;

	if (!envelope_cuts(d->envelope))
		return false;
	if (d->envelope == ENVELOPE_SYSLOG ? rest_waits(&d->rest) : join_waits(d->join))
		return true;
	for (; p < end; p = newline + 1) {
		newline = memchr(p, '\n', (size_t)(end - p));
		if (newline == NULL)
			newline = end;
		if (!envelope_ends_line(
			d->envelope, (struct slice){p, (size_t)(newline - p)}))
			return true;
	}
	return false;
}

/* What it would be a record of by itself, or NULL.  Nothing is remembered of it. */
static const struct pack_format *
format_of(
    struct decoder *d, const struct wrapped *w, int64_t fallback_ms, struct arena *a)
{
	const struct decoder before = *d;
	struct record record;
	bool is = find_format(d, without_cr(w->inner), w, fallback_ms, a, &record) == 1;

	d->kind = before.kind;
	d->coloured = before.coloured;
	return is ? record.format : NULL;
}

static bool
join_piece(struct decoder *d, const struct wrapped *w, struct line_place at,
    int64_t fallback_ms, struct arena *a, struct unwrapped *u_r)
{
	bool joined;

	/* The rest of a line with a user's words, or a line behind half a one? */
	if (join_paused(d->join, w) && format_of(d, w, fallback_ms, a) != NULL)
		join_pass(d->join, w->stream);
	return join_take(d->join, w, at, &u_r->line, &u_r->place, &joined);
}

/* Of syslog.  Half an object is none, so that one was not cut; but a rest can be one. */
static void
take_message(struct decoder *d, const struct wrapped *w, int64_t fallback_ms,
    struct arena *a, struct unwrapped *u_r)
{
	const struct pack_format *f;

	u_r->line = w->inner;
	u_r->rest = rest_take(&d->rest, w->writer, w->ms);
	if (!rest_cut_at(w->inner.len))
		return;
	f = u_r->rest ? NULL : format_of(d, w, fallback_ms, a);
	u_r->cut = f == NULL || f->kind != FORMAT_JSON;
	if (u_r->cut)
		rest_cut(&d->rest, w->writer, w->ms);
}

bool
decoder_unwrap(struct decoder *d, struct slice line, struct line_place at,
    int64_t fallback_ms, struct arena *a, struct unwrapped *u_r)
{
	struct wrapped w;

	*u_r = (struct unwrapped){.line = line, .place = at, .ms = INT64_MIN};
	if (!envelope_cuts(d->envelope) ||
	    !unwrap_known(d, plain_line(line), fallback_ms, a, &w))
		return true;
	if (d->envelope == ENVELOPE_SYSLOG) {
		take_message(d, &w, fallback_ms, a, u_r);
	} else if (!join_piece(d, &w, at, fallback_ms, a, u_r)) {
		return false;
	}
	u_r->ms = w.ms;
	u_r->wrapped = true;
	u_r->undone = w.undone;
	u_r->fields = w.fields;
	u_r->field_count = w.field_count;
	return true;
}

/*
 * A CR at the end is cut off, also where it may be of the text: what matters there
 * is that the end is odd.  A user can make a line of any log end in CR, or in LF.
 */
static int
open_line(struct decoder *d, struct slice line, const struct wrapped *w,
    int64_t fallback_ms, struct arena *a, struct record *r_r)
{
	if (!find_format(d, without_cr(line), w, fallback_ms, a, r_r))
		return 0;
	r_r->undone = w->undone;
	r_r->cr = without_cr(line).len < line.len;
	r_r->odd = r_r->cr != (d->crlf >= CRLF_SURE);
	return 1;
}

int
decoder_unwrapped(struct decoder *d, const struct unwrapped *u, int64_t fallback_ms,
    struct arena *a, struct record *r_r)
{
	const struct wrapped w = {.ms = u->ms,
	    .undone = u->undone,
	    .fields = u->fields,
	    .field_count = u->field_count};

	if (!u->wrapped)
		return decoder_line(d, u->line, fallback_ms, a, r_r);
	if (!open_line(d, u->line, &w, fallback_ms, a, r_r))
		return 0;
	r_r->odd |= u->cut;
	r_r->rest = u->rest;
	return 1;
}

/*
 * The log shows itself to be bare, which is for good: else a user's text could
 * pose as an envelope.  Only what cuts lines at every newline lets no bare line
 * of a user's through.
 */
static int
bare_line(struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a,
    struct record *r_r)
{
	if (d->envelope == ENVELOPE_AUTO || d->envelope == ENVELOPE_SYSLOG ||
	    (d->configured && d->envelope != ENVELOPE_NONE) ||
	    !open_line(d, line, &bare, fallback_ms, a, r_r))
		return 0;
	d->envelope = ENVELOPE_NONE;
	return 1;
}

int
decoder_line(struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a,
    struct record *r_r)
{
	struct wrapped w;

	line = plain_line(line);
	if (d->envelope == ENVELOPE_AUTO)
		d->envelope = envelope_of(d, line, fallback_ms, a);
	if (unwrap_known(d, line, fallback_ms, a, &w))
		return w.partial ? 0 : open_line(d, w.inner, &w, fallback_ms, a, r_r);
	return bare_line(d, line, fallback_ms, a, r_r);
}

bool
decoder_needs(const struct decoder *d, struct line_place *place_r)
{
	return join_needs(d->join, place_r);
}

size_t
decoder_least(const struct decoder *d, struct slice line)
{
	return envelope_least(d->envelope, line);
}

uint64_t
decoder_long_lines(const struct decoder *d)
{
	return join_long_lines(d->join);
}

int64_t
decoder_time_of(
    struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a)
{
	/* Not a copy to work on: buffers have one owner. */
	const struct decoder before = *d;
	struct record record;
	int64_t ts = INT64_MIN;

	if (decoder_line(d, line, fallback_ms, a, &record) == 1 && record.timed)
		ts = record.ts;
	d->kind = before.kind;
	d->coloured = before.coloured;
	d->envelope = before.envelope;
	return ts;
}

void
decoder_believe(struct decoder *d, const struct record *r)
{
	if (r->timed)
		d->last_ts = r->ts;
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
