#include "commands/teller.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "base/zone.h"
#include "commands/health.h"
#include "decode/decoder.h"
#include "extract/account_event.h"
#include "extract/doubt.h"
#include "extract/pending.h"
#include "match/match.h"
#include "match/scan.h"
#include "pack/pack.h"

struct teller {
	char *server_name;
	struct extract *extract;
	struct extract *shadow; /* what doubted lines would have told */
	struct teller_log *logs;
};

struct teller_log {
	struct teller_log *next;
	struct scan *scan;
	struct decoder *decoder;
	struct matcher *matcher;
	const struct pack *pack;
	const struct zone *zone;
	struct extract_log *extract;
	struct extract_log *shadow;
	struct health health;
	struct doubt *doubt; /* NULL until a line shows that users can forge lines */
	uint64_t doubted;
	struct pending *pending; /* what doubt has not decided yet */
	int64_t last_ts;         /* of the last run, until this one has come so far */
	uint64_t file;           /* of the newest chunk */
	uint64_t written;        /* characters of the server's; see position */
	bool
	    looked_back; /* the newest chunk stood before what is read, and showed something */
	bool error;      /* the newest record is an error, with lines that are none */
	bool open; /* the newest line remembered an open end; what follows it decides */
};

/* One chunk on its way. */
struct telling {
	struct teller_log *log;
	const struct teller_chunk *chunk;
	struct arena *arena;
	struct account_events *out;
	const struct teller_trace *trace;
	size_t measured; /* of the chunk, in log->written */
	size_t timed; /* of the chunk: what stands before told its time, if it matters */
	bool pieces;  /* its lines come in pieces */
};

struct teller *
teller_new(const char *server_name, const struct extract_limits *limits)
{
	struct teller *t = xcalloc(1, sizeof(*t));

	t->server_name = server_name == NULL ? NULL : xstrdup(server_name);
	t->extract = extract_new(limits);
	t->shadow = extract_new(limits);
	return t;
}

struct teller_log *
teller_log_new(struct teller *t, const struct pack *pack, const struct zone *zone)
{
	struct teller_log *log = xcalloc(1, sizeof(*log));

	log->scan = scan_new(pack);
	log->decoder = decoder_new(pack, zone);
	log->matcher = matcher_new(pack, t->server_name);
	log->pack = pack;
	log->zone = zone;
	health_init(&log->health, pack);
	log->extract = extract_log_new(t->extract, pack);
	log->shadow = extract_log_new(t->shadow, pack);
	log->pending = pending_new();
	log->last_ts = INT64_MIN;
	LL_PREPEND(t->logs, log);
	return log;
}

void
teller_log_envelope(struct teller_log *log, enum envelope_kind kind)
{
	decoder_set_envelope(log->decoder, kind);
}

void
teller_log_look(struct teller_log *log, const char *data, size_t len, struct arena *a)
{
	decoder_look(log->decoder, (struct slice){data, len}, INT64_MAX / 2, a);
}

void
teller_log_free(struct teller *t, struct teller_log *log)
{
	if (log == NULL)
		return;
	LL_DELETE(t->logs, log);
	extract_log_free(log->extract);
	extract_log_free(log->shadow);
	scan_free(log->scan);
	decoder_free(log->decoder);
	matcher_free(log->matcher);
	doubt_free(log->doubt);
	pending_free(log->pending);
	free(log);
}

void
teller_free(struct teller *t)
{
	if (t == NULL)
		return;
	while (t->logs != NULL)
		teller_log_free(t, t->logs);
	extract_free(t->extract);
	extract_free(t->shadow);
	free(t->server_name);
	free(t);
}

static bool
resets(const struct match *matches, size_t count)
{
	size_t m;

	for (m = 0; m < count; m++)
		if (matches[m].rule->resets)
			return true;
	return false;
}

static bool
remembers_open_end(const struct match *matches, size_t count)
{
	size_t m, c;

	for (m = 0; m < count; m++)
		for (c = 0; matches[m].rule->remember && c < matches[m].capture_count;
		     c++)
			if (matches[m].captures[c].open)
				return true;
	return false;
}

/* A rule would have remembered or told something. */
static bool
means_something(const struct extract_line *line)
{
	size_t i;

	for (i = 0; i < line->match_count; i++)
		if (line->matches[i].rule->remember ||
		    line->matches[i].rule->emit != NULL)
			return true;
	return false;
}

/*
 * Events of the line judged last.  They wait where it is not decided yet, or
 * where others wait before them; what was told before the last stop is dropped.
 */
static void
give(struct telling *t, const struct account_events *events)
{
	const struct teller_log *log = t->log;
	struct account_event *ev, *next;
	uint64_t number = log->doubt == NULL ? 0 : doubt_number(log->doubt);
	bool waits = log->doubt != NULL &&
	    (pending_count(log->pending) > 0 || doubt_decided(log->doubt) < number);

	for (ev = events->first; ev != NULL; ev = next) {
		next = ev->next;
		if (waits)
			pending_add(log->pending, ev, number, t->chunk->again);
		else if (!t->chunk->again)
			account_events_add(t->out, ev);
	}
}

/*
 * A line that may be a user's text goes the same way, but apart: what it would
 * have told becomes a report of a suspected forgery.
 */
static void
take_doubted(struct telling *t, const struct extract_line *line,
    enum doubt_verdict verdict, const char *why)
{
	struct account_events events = {.last = &events.first};
	struct account_event *ev;
	size_t i;

	t->log->doubted += verdict == DOUBT_FORGED || means_something(line);
	for (i = 0; t->trace != NULL && i < line->match_count; i++)
		t->trace->rule(t->trace->arg, &line->matches[i], OUTCOME_DOUBTED, why, 0);
	extract_line(t->log->shadow, line, t->arena, &events, NULL, NULL);
	for (ev = events.first; ev != NULL; ev = ev->next)
		account_event_suspect(ev, t->arena);
	give(t, &events);
}

static struct slice
line_from(struct slice chunk, size_t offset)
{
	const char *p = chunk.p + offset;
	const char *newline = memchr(p, '\n', chunk.len - offset);

	return (struct slice){
	    p, newline == NULL ? chunk.len - offset : (size_t)(newline - p)};
}

/* A line that stands in the chunk as it is. */
static struct unwrapped
as_it_stands(const struct telling *t, struct slice line, size_t offset)
{
	return (struct unwrapped){.line = line,
	    .place = {t->chunk->file, t->chunk->offset + offset},
	    .ms = INT64_MIN};
}

/*
 * The true end of a line that a text cut is mostly no record, so it betrays the
 * text.  Servers write some themselves, behind the first line of an error.
 */
static void
look_for_orphan(struct telling *t, const struct unwrapped *u)
{
	struct teller_log *log = t->log;
	struct record record;
	uint64_t forged;

	if (log->doubt == NULL || !doubt_listens(log->doubt))
		return;
	if (decoder_unwrapped(
		log->decoder, u, t->chunk->fallback_ms, t->arena, &record) == 1) {
		log->error = slice_eq(
		    record.part[PART_LEVEL], (struct slice){"ERROR", strlen("ERROR")});
		return;
	}
	if (log->error)
		return;
	doubt_orphan(log->doubt);
	if (doubt_betrayed(log->doubt, &forged))
		pending_forged(log->pending, forged, t->arena);
}

static void
pass(struct telling *t, struct slice line, size_t offset)
{
	const struct unwrapped u = as_it_stands(t, line, offset);

	look_for_orphan(t, &u);
}

/*
 * A place in the log for doubt, which counts a user's characters: those of
 * envelopes are not his, else a few newlines would carry him out of reach.
 */
static uint64_t
position(struct telling *t, size_t offset)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};
	struct teller_log *log = t->log;
	struct slice line;

	while (t->measured < offset) {
		line = line_from(chunk, t->measured);
		if (!t->pieces)
			pass(t, line, t->measured);
		log->written += decoder_least(log->decoder, line);
		t->measured += line.len + 1;
	}
	return log->written;
}

/* By which rule a line may carry the most text, and how long that is at most. */
static void
find_carrier(struct telling *t, const struct extract_line *line, struct doubt_line *to)
{
	struct slice escaped;
	size_t i;

	for (i = 0; i < line->match_count; i++) {
		const struct match *m = &line->matches[i];
		const struct pack_rule *rule = m->rule;

		if (rule->raw <= (to->carrier == NULL ? 0 : to->carrier->rule->raw) ||
		    !extract_holds(
			t->log->extract, line, m, t->arena, rule->escaped, &escaped))
			continue;
		to->carrier = m;
		to->longest =
		    escaped.p == NULL ? rule->longest : utf8_length(escaped) + rule->raw;
	}
}

/*
 * In a log with lines that users can forge every line is doubted, whatever its
 * own format: a forged line may be of another.  It stands at offset of the chunk.
 */
static enum doubt_verdict
judge(
    struct telling *t, const struct extract_line *line, size_t offset, const char **why_r)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};
	struct teller_log *log = t->log;
	struct doubt_line doubted = {
	    .record = line->record,
	    .matches = line->matches,
	    .match_count = line->match_count,
	    .file = line->file,
	    .offset = line->offset,
	    .again = t->chunk->again,
	};
	enum doubt_verdict verdict;
	uint64_t forged;

	if (line->record->rest) {
		*why_r = "it stands behind a line as long as those that are cut, and may "
			 "be the rest of it";
		return DOUBT_HELD;
	}
	if (log->doubt == NULL && line->record->format->forgeable)
		log->doubt = doubt_new(log->pack);
	if (log->doubt == NULL)
		return DOUBT_NONE;
	doubt_clock(log->doubt, t->chunk->fallback_ms);
	doubted.begin = position(t, offset);
	doubted.end =
	    doubted.begin + decoder_least(log->decoder, line_from(chunk, offset));
	find_carrier(t, line, &doubted);
	verdict = doubt_line(log->doubt, &doubted, why_r);
	if (verdict == DOUBT_NONE && resets(line->matches, line->match_count))
		doubt_reset(log->doubt);
	if (doubt_betrayed(log->doubt, &forged))
		pending_forged(log->pending, forged, t->arena);
	pending_tell(
	    log->pending, doubt_decided(log->doubt), t->chunk->again, t->arena, t->out);
	return verdict;
}

/*
 * A line is believed in a log that users can forge: it may close a request of
 * which only doubted lines are known, which then were its own.
 */
static void
settle(struct telling *t, const struct extract_line *line)
{
	struct teller_log *log = t->log;
	struct slice none;
	size_t i;

	for (i = 0; t->trace != NULL && i < line->match_count; i++)
		if (line->matches[i].rule->raw > 0)
			t->trace->rule(t->trace->arg, &line->matches[i],
			    extract_holds(log->extract, line, &line->matches[i], t->arena,
				NULL, &none)
				? OUTCOME_CARRIES
				: OUTCOME_CARRIES_NONE,
			    NULL, 0);
	for (i = 0; i < line->match_count; i++)
		if (line->matches[i].rule->ends && doubt_settled(log->doubt))
			(void)extract_adopt(log->extract, log->shadow,
			    line->record->part[PART_CONTEXT], t->arena);
}

/*
 * What the server wrote tells how its lines end; what was not written to its end
 * does not.
 */
static void
note_end(struct telling *t, const struct record *record, size_t offset)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};

	if (offset + line_from(chunk, offset).len < chunk.len)
		decoder_ended(t->log->decoder, record);
}

/* A line that no rule cares for is looked at for its end as long as few were seen. */
static void
look_at_end(struct telling *t, const struct unwrapped *u, size_t offset)
{
	struct record record;

	if (!decoder_knows_ends(t->log->decoder) &&
	    decoder_unwrapped(
		t->log->decoder, u, t->chunk->fallback_ms, t->arena, &record) == 1)
		note_end(t, &record, offset);
}

/* No rule cares for the record, so that nobody judges it: only its time tells. */
static void
pass_record(struct teller_log *log, const struct record *record)
{
	if (log->doubt == NULL || !doubt_is_open(log->doubt))
		decoder_believe(log->decoder, record);
}

/*
 * In the hour that comes twice every line tells which of the two it is: many may
 * be written in both before one that a rule cares for.
 */
static void
pass_times(struct telling *t, size_t end)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};
	struct record record;
	struct unwrapped u;
	struct slice line;

	for (; t->timed < end; t->timed += line.len + 1) {
		line = line_from(chunk, t->timed);
		u = as_it_stands(t, line, t->timed);
		if (decoder_unwrapped(t->log->decoder, &u, t->chunk->fallback_ms,
			t->arena, &record) == 1)
			pass_record(t->log, &record);
	}
}

/* Where lines come in pieces their envelopes have a time that tells the hour. */
static int
take_apart(
    struct telling *t, const struct unwrapped *u, size_t offset, struct record *record_r)
{
	struct decoder *d = t->log->decoder;
	int64_t fallback_ms = t->chunk->fallback_ms;
	int is_record = decoder_unwrapped(d, u, fallback_ms, t->arena, record_r);

	if (is_record == 1 && !t->pieces && zone_repeats(t->log->zone, record_r->ts)) {
		pass_times(t, offset);
		is_record = decoder_unwrapped(d, u, fallback_ms, t->arena, record_r);
	}
	t->timed = offset + u->line.len + 1;
	return is_record;
}

/* u ends at offset of the chunk. */
static void
take_line(struct telling *t, const struct unwrapped *u, size_t offset)
{
	struct teller_log *log = t->log;
	struct record record;
	struct extract_line taken = {
	    .file = u->place.file,
	    .offset = u->place.offset,
	    .record = &record,
	};
	struct account_events events = {.last = &events.first};
	struct match *matches = NULL;
	enum doubt_verdict verdict;
	const char *why;
	int is_record;

	is_record = take_apart(t, u, offset, &record);
	if (is_record == 1) {
		taken.match_count =
		    matcher_record(log->matcher, &record, t->arena, &matches);
		taken.matches = matches;
		health_line(&log->health, log->matcher, &record, matches,
		    taken.match_count, t->arena);
	}
	if (t->trace != NULL)
		t->trace->line(t->trace->arg, u->place.offset, u->line,
		    is_record == 1 ? &record : NULL, taken.match_count);
	if (taken.match_count == 0) {
		if (is_record == 1)
			pass_record(log, &record);
		return;
	}
	verdict = judge(t, &taken, offset, &why);
	if (verdict == DOUBT_HELD || verdict == DOUBT_FORGED) {
		take_doubted(t, &taken, verdict, why);
		return;
	}
	decoder_believe(log->decoder, &record);
	note_end(t, &record, offset);
	if (log->doubt != NULL)
		settle(t, &taken);
	extract_line(log->extract, &taken, t->arena, &events,
	    t->trace == NULL ? NULL : t->trace->rule,
	    t->trace == NULL ? NULL : t->trace->arg);
	if (verdict == DOUBT_PENDING && events.count > 0 && t->trace != NULL)
		t->trace->rule(t->trace->arg, &matches[0], OUTCOME_PENDING, NULL, 0);
	give(t, &events);
	log->open = remembers_open_end(matches, taken.match_count);
}

/*
 * A user's text with a newline in it looks like a line that ends early and one
 * that is no record, or that can't be true.  Half of a device id is not told.
 */
static void
look_behind_open_end(struct telling *t, const struct unwrapped *following, size_t offset)
{
	struct teller_log *log = t->log;
	struct record record;
	const struct extract_line line = {.record = &record};
	const char *why;

	log->open = false;
	if (decoder_unwrapped(
		log->decoder, following, t->chunk->fallback_ms, t->arena, &record) == 1 &&
	    judge(t, &line, offset, &why) <= DOUBT_PENDING)
		return;
	extract_torn(log->extract);
	if (t->trace != NULL)
		t->trace->torn(t->trace->arg);
}

static void
look_at_ends(struct telling *t, size_t offset, size_t until)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};
	struct slice line;
	struct unwrapped u;

	for (; offset < until && !decoder_knows_ends(t->log->decoder);
	     offset += line.len + 1) {
		line = line_from(chunk, offset);
		u = as_it_stands(t, line, offset);
		look_at_end(t, &u, offset);
	}
}

/* Of lines that stand in the chunk whole, those that hold a literal. */
static void
take_candidates(struct telling *t)
{
	struct teller_log *log = t->log;
	struct unwrapped u;
	struct slice line;
	size_t offset, passed = 0;

	scan_begin(log->scan, t->chunk->data, t->chunk->len);
	if (log->open && scan_following(log->scan, &line, &offset) == 1) {
		u = as_it_stands(t, line, offset);
		look_behind_open_end(t, &u, offset);
	}
	while (scan_next(log->scan, &line, &offset) == 1) {
		look_at_ends(t, passed, offset);
		passed = offset + line.len + 1;
		u = as_it_stands(t, line, offset);
		take_line(t, &u, offset);
		if (log->open && scan_following(log->scan, &line, &offset) == 1) {
			u = as_it_stands(t, line, offset);
			look_behind_open_end(t, &u, offset);
		}
	}
	look_at_ends(t, passed, t->chunk->len);
}

/* Where lines come in pieces a literal may be cut too: they are joined first. */
static void
take_pieces(struct telling *t)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};
	struct teller_log *log = t->log;
	struct slice line, held;
	struct unwrapped u;
	size_t offset, at;

	for (offset = 0; offset < chunk.len; offset += line.len + 1) {
		line = line_from(chunk, offset);
		if (!decoder_unwrap(log->decoder, line,
			(struct line_place){t->chunk->file, t->chunk->offset + offset},
			t->chunk->fallback_ms, t->arena, &u))
			continue;
		if (log->open)
			look_behind_open_end(t, &u, offset);
		look_for_orphan(t, &u);
		scan_begin(log->scan, u.line.p, u.line.len);
		if (scan_next(log->scan, &held, &at) == 1)
			take_line(t, &u, offset);
		else
			look_at_end(t, &u, offset);
	}
}

/* Only their pieces count. */
static void
take_before(struct telling *t)
{
	const struct slice chunk = {t->chunk->data, t->chunk->len};
	struct unwrapped u;
	struct slice line;
	size_t offset;

	for (offset = 0; offset < chunk.len; offset += line.len + 1) {
		line = line_from(chunk, offset);
		(void)decoder_unwrap(t->log->decoder, line,
		    (struct line_place){t->chunk->file, t->chunk->offset + offset},
		    t->chunk->fallback_ms, t->arena, &u);
	}
}

static int64_t
time_of_last_line(
    const struct teller_log *log, const struct teller_chunk *c, struct arena *a)
{
	size_t len = c->len;
	const char *newline;

	if (len > 0 && c->data[len - 1] == '\n')
		len--;
	newline = len == 0 ? NULL : memrchr(c->data, '\n', len);
	return decoder_time_of(log->decoder,
	    line_from((struct slice){c->data, len},
		newline == NULL ? 0 : (size_t)(newline - c->data) + 1),
	    c->fallback_ms, a);
}

/*
 * Lines that are read again are older than the last run's newest, and so may have
 * been taken for those of another hour.  What comes now stands behind that one.
 */
static void
reach_last_ts(struct teller_log *log)
{
	if (log->last_ts != INT64_MIN)
		decoder_set_last_ts(log->decoder, log->last_ts);
	log->last_ts = INT64_MIN;
}

void
teller_chunk(struct teller_log *log, const struct teller_chunk *c, struct arena *a,
    struct account_events *out, const struct teller_trace *trace)
{
	const struct slice lines = {c->data, c->len};
	struct telling t = {
	    .log = log, .chunk = c, .arena = a, .out = out, .trace = trace};
	int64_t last_ts;

	if (log->looked_back && !c->before)
		decoder_no_gap(log->decoder);
	if (!c->again && !c->before)
		reach_last_ts(log);
	if (c->gap)
		decoder_gap(log->decoder);
	decoder_look(log->decoder, lines, c->fallback_ms, a);
	log->looked_back = c->before && c->len > 0;
	if (c->before) {
		take_before(&t);
		return;
	}
	log->file = c->file;
	last_ts = time_of_last_line(log, c, a);
	health_chunk(&log->health, c->again ? 0 : c->len, last_ts, c->fallback_ms);
	t.pieces = decoder_cut(log->decoder, lines);
	if (t.pieces)
		take_pieces(&t);
	else
		take_candidates(&t);
	if (!t.pieces && zone_repeats(log->zone, last_ts))
		pass_times(&t, c->len);
	if (log->doubt != NULL)
		(void)position(&t, c->len);
}

bool
teller_log_waits(const struct teller_log *log)
{
	return pending_count(log->pending) > 0;
}

void
teller_log_idle(
    struct teller_log *log, int64_t now, struct arena *a, struct account_events *out)
{
	if (log->doubt == NULL)
		return;
	doubt_idle(log->doubt, now);
	pending_tell(log->pending, doubt_decided(log->doubt), false, a, out);
}

void
teller_log_clock(struct teller_log *log, int64_t now)
{
	extract_log_clock(log->extract, now);
}

/*
 * Files of a log come in order: what is not of the newest one, nor of the
 * place's, is older than that.
 */
static bool
is_older(
    const struct teller_log *log, struct line_place place, uint64_t file, uint64_t offset)
{
	if (place.file == file)
		return place.offset < offset;
	return file == log->file;
}

bool
teller_log_cut(const struct teller_log *log)
{
	struct line_place place;

	return decoder_needs(log->decoder, &place);
}

bool
teller_log_needs(const struct teller_log *log, uint64_t *file_r, uint64_t *offset_r)
{
	bool needed = extract_needs(log->extract, file_r, offset_r);
	struct line_place place;

	if (log->doubt != NULL && doubt_needs(log->doubt, &place.file, &place.offset) &&
	    (!needed || is_older(log, place, *file_r, *offset_r))) {
		*file_r = place.file;
		*offset_r = place.offset;
		needed = true;
	}
	if (decoder_needs(log->decoder, &place) &&
	    (!needed || is_older(log, place, *file_r, *offset_r))) {
		*file_r = place.file;
		*offset_r = place.offset;
		needed = true;
	}
	return needed;
}

uint64_t
teller_log_long_lines(const struct teller_log *log)
{
	return decoder_long_lines(log->decoder);
}

int64_t
teller_log_last_ts(const struct teller_log *log)
{
	return log->last_ts != INT64_MIN ? log->last_ts : decoder_last_ts(log->decoder);
}

void
teller_log_set_last_ts(struct teller_log *log, int64_t ts)
{
	log->last_ts = ts;
	decoder_set_last_ts(log->decoder, ts);
}

uint64_t
teller_log_errors(const struct teller_log *log, const char **rule_r)
{
	return matcher_errors(log->matcher, rule_r);
}

uint64_t
teller_log_unknown(const struct teller_log *log)
{
	return log->health.unknown_ever;
}

int64_t
teller_log_sentinel(const struct teller_log *log)
{
	return log->health.watched && log->health.begun ? log->health.since : 0;
}

const char *
teller_log_trouble(const struct teller_log *log, struct arena *a)
{
	return health_trouble(&log->health, a);
}

void
teller_log_stats(const struct teller_log *log, struct extract_stats *st_r)
{
	extract_log_stats(log->extract, st_r);
	st_r->doubted = log->doubted;
}
