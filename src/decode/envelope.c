#include "decode/envelope.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/zone.h"
#include "decode/json_line.h"
#include "decode/rest.h"
#include "decode/timestamp.h"

#define DOCKER_DEPTH 4 /* attrs is an object of strings */
#define DOCKER_PIECE                                                                     \
	(16 * 1024) /* but for the last of a line, or of a container's life */
#define PRI_MAX 191
#define ESCAPE_LEN strlen("#011")
#define DAY_MS (24 * 3600 * 1000LL)
#define YEAR_MS (366 * DAY_MS)
#define YEARS_TRIED 9 /* one of them has a 29th of February */

/* What is left of the line. */
struct cursor {
	const char *p, *end;
};

static struct slice
rest_of(const struct cursor *c)
{
	return (struct slice){c->p, (size_t)(c->end - c->p)};
}

static bool
take(struct cursor *c, const char *text)
{
	if (!slice_starts(rest_of(c), text))
		return false;
	c->p += strlen(text);
	return true;
}

/* What stands before the next space, which is passed over; not empty. */
static bool
take_word(struct cursor *c, struct slice *word_r)
{
	const char *space = memchr(c->p, ' ', (size_t)(c->end - c->p));

	if (space == NULL || space == c->p)
		return false;
	*word_r = (struct slice){c->p, (size_t)(space - c->p)};
	c->p = space + 1;
	return true;
}

/* A time with its zone. */
static bool
read_time(struct slice text, int64_t *ms_r)
{
	struct timestamp ts;

	if (timestamp_parse(TIME_ISO, text, &ts) == -1 || ts.local)
		return false;
	*ms_r = ts.ms;
	return true;
}

static bool
read_stream(struct slice name, uint64_t *stream_r)
{
	*stream_r = slice_is(name, "stderr") ? STREAM_STDERR : STREAM_STDOUT;
	return *stream_r == STREAM_STDERR || slice_is(name, "stdout");
}

/* ---- Docker ------------------------------------------------------------------- */

static struct json_object *
member(struct json_object *o, const char *name, enum json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, name, &value) ||
	    !json_object_is_type(value, type))
		return NULL;
	return value;
}

/* Exactly log, stream and time, and attrs if the daemon was told to add labels. */
static bool
read_docker(struct json_object *o, struct arena *a, struct wrapped *w_r)
{
	struct json_object *log = member(o, "log", json_type_string);
	struct json_object *stream = member(o, "stream", json_type_string);
	struct json_object *time = member(o, "time", json_type_string);
	struct json_object *attrs = member(o, "attrs", json_type_object);

	if (log == NULL || stream == NULL || time == NULL ||
	    json_object_object_length(o) != (attrs == NULL ? 3 : 4))
		return false;
	if (!read_stream(slice_of(json_object_get_string(stream)), &w_r->stream) ||
	    !read_time(slice_of(json_object_get_string(time)), &w_r->ms))
		return false;
	w_r->inner = json_line_text(log, a);
	w_r->partial = w_r->inner.len == 0 || w_r->inner.p[w_r->inner.len - 1] != '\n';
	w_r->broken = w_r->partial && w_r->inner.len < DOCKER_PIECE;
	if (!w_r->partial)
		w_r->inner.len--;
	return true;
}

static bool
open_docker(struct slice line, struct arena *a, struct wrapped *w_r)
{
	struct json_tokener *tok;
	struct json_object *o;
	bool opened;

	if (line.len == 0 || line.p[0] != '{')
		return false;
	tok = json_line_parser(DOCKER_DEPTH);
	o = json_line_parse(tok, line);
	opened = o != NULL && read_docker(o, a, w_r);
	(void)json_object_put(o);
	json_tokener_free(tok);
	return opened;
}

static const char *
skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

const char *
envelope_json_value(struct slice line, const char *key)
{
	const char *p = line.p, *end = line.p + line.len;

	while ((p = memmem(p, (size_t)(end - p), key, strlen(key))) != NULL) {
		p = skip_blanks(p + strlen(key), end);
		if (p < end && *p == ':')
			return skip_blanks(p + 1, end);
	}
	return NULL;
}

/* Whether an odd number of backslashes stands before p. */
static bool
is_escaped(const char *begin, const char *p)
{
	const char *first = p;

	while (first > begin && first[-1] == '\\')
		first--;
	return (p - first) % 2 == 1;
}

const char *
envelope_json_end(const char *p, const char *end)
{
	const char *quote = p;

	while ((quote = memchr(quote, '"', (size_t)(end - quote))) != NULL &&
	    is_escaped(p, quote))
		quote++;
	return quote;
}

/* The inside of the log's string; {NULL, 0} where it has none, or no end. */
static struct slice
docker_text(struct slice line)
{
	const char *p = envelope_json_value(line, "\"log\""), *end = line.p + line.len;

	if (p == NULL || p == end || *p++ != '"')
		return (struct slice){NULL, 0};
	end = envelope_json_end(p, end);
	return end == NULL ? (struct slice){NULL, 0}
			   : (struct slice){p, (size_t)(end - p)};
}

/* Whether the text, which is JSON, ends in a newline. */
static bool
ends_in_newline(struct slice text)
{
	return text.len >= 2 && text.p[text.len - 1] == 'n' &&
	    is_escaped(text.p, text.p + text.len - 1);
}

/* Two escapes may be one character, and count as none. */
size_t
envelope_least_json(const char *p, const char *end)
{
	const char *slash;
	size_t n = 0;

	while ((slash = memchr(p, '\\', (size_t)(end - p))) != NULL && end - slash >= 2) {
		size_t escape = slash[1] == 'u' ? strlen("\\u0000") : strlen("\\n");

		n += utf8_length((struct slice){p, (size_t)(slash - p)});
		p = (size_t)(end - slash) < escape ? end : slash + escape;
		n += slash[1] != 'u' || (slash[2] | 0x20) != 'd';
	}
	return n + utf8_length((struct slice){p, (size_t)(end - p)});
}

/* ---- CRI ------------------------------------------------------------------------ */

/* Everything but the text, which is left.  The time is read by who needs it. */
static bool
take_cri_head(struct cursor *c, struct slice *time_r, uint64_t *stream_r, bool *partial_r)
{
	struct slice stream, tags;

	if (!take_word(c, time_r) || !take_word(c, &stream) ||
	    !read_stream(stream, stream_r))
		return false;
	if (!take_word(c, &tags)) { /* an empty text may lack even its space */
		tags = rest_of(c);
		c->p = c->end;
	}
	if (tags.len == 0 || (tags.len > 1 && tags.p[1] != ':'))
		return false;
	*partial_r = tags.p[0] == 'P';
	return *partial_r || tags.p[0] == 'F';
}

static bool
open_cri(struct slice line, struct wrapped *w_r)
{
	struct cursor c = {line.p, line.p + line.len};
	struct slice time;

	if (!take_cri_head(&c, &time, &w_r->stream, &w_r->partial) ||
	    !read_time(time, &w_r->ms))
		return false;
	w_r->inner = rest_of(&c);
	return true;
}

/* ---- syslog ------------------------------------------------------------------------ */

/* "<13>"; *there_r is whether there is one.  False where it is wrong. */
static bool
take_pri(struct cursor *c, bool *there_r)
{
	unsigned pri = 0, digits = 0;

	*there_r = take(c, "<");
	if (!*there_r)
		return true;
	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9' && digits < 3; digits++)
		pri = pri * 10 + (unsigned)(*c->p++ - '0');
	return digits > 0 && pri <= PRI_MAX && take(c, ">");
}

/* One element: [id name="value" ...], where values escape '"', '\\' and ']'. */
static bool
take_element(struct cursor *c)
{
	bool quoted = false;

	if (!take(c, "["))
		return false;
	for (; c->p < c->end; c->p++) {
		if (quoted && *c->p == '\\' && c->end - c->p > 1)
			c->p++;
		else if (*c->p == '"')
			quoted = !quoted;
		else if (!quoted && *c->p == ']')
			return take(c, "]");
	}
	return false;
}

static bool
take_structured_data(struct cursor *c)
{
	if (take(c, "-"))
		return true;
	if (!take_element(c))
		return false;
	while (c->p < c->end && *c->p == '[')
		if (!take_element(c))
			return false;
	return true;
}

/* RFC 5424, behind "<pri>1 ". */
static bool
open_syslog_5424(struct cursor *c, struct wrapped *w_r)
{
	struct slice time, word;
	unsigned i;

	if (!take_word(c, &time))
		return false;
	w_r->ms = INT64_MIN;
	if (!slice_is(time, "-") && !read_time(time, &w_r->ms))
		return false;
	w_r->writer = rest_of(c);
	for (i = 0; i < 4; i++) /* host, app, process, message id */
		if (!take_word(c, &word))
			return false;
	w_r->writer.len = (size_t)(c->p - w_r->writer.p);
	if (!take_structured_data(c) || (c->p < c->end && !take(c, " ")))
		return false;
	(void)take(c, "\xef\xbb\xbf");
	w_r->inner = rest_of(c);
	return true;
}

/* The stamp in that year, UTC. */
static bool
in_year(
    const struct yearless *y, int year, const struct envelope_clock *clock, int64_t *ms_r)
{
	int64_t local;

	if (timestamp_in_year(y, year, &local) == -1)
		return false;
	*ms_r = zone_to_utc(clock->zone, local,
	    clock->last_ms < clock->mtime_ms ? clock->last_ms : clock->mtime_ms);
	return true;
}

/* The last such time that is not behind the file's, but for a day of a clock that is wrong. */
static bool
last_before(const struct yearless *y, const struct envelope_clock *clock, int64_t *ms_r)
{
	int year = timestamp_year(clock->mtime_ms) + 1, i;

	for (i = 0; i < YEARS_TRIED; i++)
		if (in_year(y, year - i, clock, ms_r) &&
		    *ms_r <= clock->mtime_ms + DAY_MS)
			return true;
	return false;
}

/* The one that is nearest to the line before. */
static bool
nearest(const struct yearless *y, const struct envelope_clock *clock, int64_t *ms_r)
{
	const int64_t last = clock->last_ms;
	int64_t best = INT64_MAX, ms;
	int year = timestamp_year(last), i;

	for (i = 1 - YEARS_TRIED; i < YEARS_TRIED; i++) {
		if (!in_year(y, year + i, clock, &ms) || llabs(ms - last) >= best)
			continue;
		best = llabs(ms - last);
		*ms_r = ms;
	}
	return best != INT64_MAX;
}

/* The first such time that is not before the line before, but for a day. */
static bool
first_behind(const struct yearless *y, const struct envelope_clock *clock, int64_t *ms_r)
{
	int year = timestamp_year(clock->last_ms) - 1, i;

	for (i = 0; i < YEARS_TRIED; i++)
		if (in_year(y, year + i, clock, ms_r) && *ms_r >= clock->last_ms - DAY_MS)
			return true;
	return false;
}

/*
 * Is a time sound?  Where it goes on behind the line before, it is so whatever the
 * file's time.  Else that is a bound, lest a clock that was set back makes a year
 * pass, or one that began in 1970 leaves all that follows there.
 */
static bool
fits(const struct envelope_clock *clock, int64_t ms)
{
	if (clock->last_ms != INT64_MIN && llabs(ms - clock->last_ms) <= DAY_MS)
		return true;
	return ms <= clock->mtime_ms + DAY_MS && ms >= clock->mtime_ms - YEAR_MS;
}

/* Where the line before is of a later day than the file, one of two clocks was wrong. */
static bool
tell_year(const struct yearless *y, const struct envelope_clock *clock, int64_t *ms_r)
{
	bool ahead = clock->last_ms > clock->mtime_ms + DAY_MS;

	if (clock->last_ms != INT64_MIN &&
	    (ahead ? nearest(y, clock, ms_r) : first_behind(y, clock, ms_r)) &&
	    fits(clock, *ms_r))
		return true;
	return last_before(y, clock, ms_r);
}

/* The stamp of RFC 3164, or what rsyslog and journalctl may write in its place. */
static bool
take_stamp(struct cursor *c, const struct envelope_clock *clock, struct wrapped *w_r)
{
	struct yearless y;
	struct slice word;
	size_t len = timestamp_yearless(rest_of(c), &y);

	if (len == 0)
		return take_word(c, &word) && read_time(word, &w_r->ms);
	c->p += len;
	w_r->ms = INT64_MIN;
	if (!take(c, " "))
		return false;
	if (clock == NULL)
		return true;
	if (!tell_year(&y, clock, &w_r->ms))
		return false;
	w_r->stray = !fits(clock, w_r->ms);
	return true;
}

/* "tag:" or "tag[pid]:", with the space behind it. */
static bool
take_tag(struct cursor *c)
{
	struct cursor at = *c;

	while (at.p < at.end && *at.p != ' ' && *at.p != ':' && *at.p != '[')
		at.p++;
	if (at.p == c->p)
		return false;
	if (take(&at, "[")) {
		while (at.p < at.end && *at.p != ' ' && *at.p != ']')
			at.p++;
		if (!take(&at, "]"))
			return false;
	}
	if (!take(&at, ":") || (at.p < at.end && *at.p != ' '))
		return false;
	(void)take(&at, " ");
	*c = at;
	return true;
}

static bool
open_syslog_3164(
    struct cursor *c, const struct envelope_clock *clock, struct wrapped *w_r)
{
	struct slice host;

	if (!take_stamp(c, clock, w_r))
		return false;
	w_r->writer = rest_of(c);
	/* What a program wrote to the socket of its own host names none. */
	if (!take_tag(c) && (!take_word(c, &host) || !take_tag(c)))
		return false;
	w_r->writer.len = (size_t)(c->p - w_r->writer.p);
	w_r->inner = rest_of(c);
	return true;
}

/* The control character that rsyslog writes as "#011"; -1: p does not begin with one. */
static int
escaped_control(const char *p, const char *end)
{
	int c;

	if ((size_t)(end - p) < ESCAPE_LEN || p[0] != '#' || p[1] < '0' || p[1] > '1' ||
	    p[2] < '0' || p[2] > '7' || p[3] < '0' || p[3] > '7')
		return -1;
	c = (p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0');
	return c < 0x20 || c == 0x7f ? c : -1;
}

/* The next one from p on, NULL where there is none. */
static const char *
next_escape(const char *p, const char *end)
{
	while ((p = memchr(p, '#', (size_t)(end - p))) != NULL)
		if (escaped_control(p, end) == -1)
			p++;
		else
			break;
	return p;
}

static size_t
count_escapes(struct slice text)
{
	const char *p = text.p, *end = text.p + text.len;
	size_t n;

	for (n = 0; (p = next_escape(p, end)) != NULL; n++)
		p += ESCAPE_LEN;
	return n;
}

/*
 * Colours and tabs are what they were before the daemon escaped them.  So is a
 * newline: it is within the record, and ends nothing.
 */
static struct slice
without_escapes(struct slice text, struct arena *a)
{
	const char *p = text.p, *end = text.p + text.len, *hit = next_escape(p, end);
	char *plain, *to;

	if (hit == NULL)
		return text;
	plain = to = arena_alloc(a, text.len);
	for (; hit != NULL; hit = next_escape(p, end)) {
		memcpy(to, p, (size_t)(hit - p));
		to += hit - p;
		*to++ = (char)escaped_control(hit, end);
		p = hit + ESCAPE_LEN;
	}
	memcpy(to, p, (size_t)(end - p));
	return (struct slice){plain, (size_t)(to + (end - p) - plain)};
}

static bool
open_syslog(struct slice line, const struct envelope_clock *clock, struct wrapped *w_r)
{
	struct cursor c = {line.p, line.p + line.len};
	bool pri;

	w_r->stream = STREAM_STDOUT;
	w_r->partial = false;
	if (!take_pri(&c, &pri))
		return false;
	if (pri && take(&c, "1 "))
		return open_syslog_5424(&c, w_r);
	return open_syslog_3164(&c, clock, w_r);
}

/* ---- any -------------------------------------------------------------------------- */

bool
envelope_open(enum envelope_kind kind, struct slice line,
    const struct envelope_clock *clock, struct arena *a, struct wrapped *w_r)
{
	struct slice text;

	*w_r = (struct wrapped){.ms = INT64_MIN};
	switch (kind) {
	case ENVELOPE_AUTO:
	case ENVELOPE_NONE:
		break;
	case ENVELOPE_DOCKER_JSON:
		return open_docker(line, a, w_r);
	case ENVELOPE_CRI:
		return open_cri(line, w_r);
	case ENVELOPE_SYSLOG:
		if (!open_syslog(line, clock, w_r))
			return false;
		text = w_r->inner;
		w_r->inner = without_escapes(text, a);
		w_r->undone = w_r->inner.len < text.len;
		return true;
	case ENVELOPE_JOURNAL:
		return envelope_open_journal(line, a, w_r);
	}
	return false;
}

bool
envelope_cuts(enum envelope_kind kind)
{
	return kind == ENVELOPE_DOCKER_JSON || kind == ENVELOPE_CRI ||
	    kind == ENVELOPE_SYSLOG || kind == ENVELOPE_JOURNAL;
}

/* The bytes that the server wrote into it. */
static size_t
syslog_length(struct slice text)
{
	return text.len - (ESCAPE_LEN - 1) * count_escapes(text);
}

bool
envelope_ends_line(enum envelope_kind kind, struct slice line)
{
	struct wrapped w;
	struct cursor c = {line.p, line.p + line.len};
	struct slice time;
	uint64_t stream;
	bool partial;

	if (kind == ENVELOPE_CRI)
		return take_cri_head(&c, &time, &stream, &partial) && !partial;
	if (kind == ENVELOPE_SYSLOG)
		return line.len < REST_LEAST || !open_syslog(line, NULL, &w) ||
		    !rest_cut_at(syslog_length(w.inner));
	return kind == ENVELOPE_DOCKER_JSON && ends_in_newline(docker_text(line));
}

size_t
envelope_least(enum envelope_kind kind, struct slice line)
{
	struct wrapped w;
	struct slice text;

	switch (kind) {
	case ENVELOPE_DOCKER_JSON:
		text = docker_text(line);
		return text.p == NULL ? 0
				      : envelope_least_json(text.p, text.p + text.len);
	case ENVELOPE_CRI:
		return open_cri(line, &w) ? utf8_length(w.inner) : 0;
	case ENVELOPE_SYSLOG:
		if (!open_syslog(line, NULL, &w))
			return 0;
		return utf8_length(w.inner) - (ESCAPE_LEN - 1) * count_escapes(w.inner);
	case ENVELOPE_JOURNAL:
		return envelope_least_journal(line);
	case ENVELOPE_AUTO:
	case ENVELOPE_NONE:
		break;
	}
	return utf8_length(line);
}
