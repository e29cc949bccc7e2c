#include "extract/doubt.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "decode/record.h"
#include "extract/until.h"
#include "match/match.h"
#include "pack/pack.h"

#define WINDOW (1u << 18) /* request numbers that are remembered */
#define AHEAD 256    /* a request's number runs this far before the newest, at most */
#define BEHIND 64    /* a request that was open at our start has a number this near */
#define GIVE_UP 16   /* twice the contradictions, less the rest, where no text is near */
#define GUESSES 3    /* impossible closing lines behind one text: it tries numbers */
#define YOUNG 256    /* so few numbers known: impossible ones are not seen as such */
#define HELD_MAX 8   /* requests begun behind one text that may be real */
#define GRACE 16     /* closing lines that must be in order after such a text */
#define CALM_MS 2000 /* and how long it goes on, at least; longer than FUTURE_MS */
#define STALE_MS 60000    /* a text is written at once: so long after it nothing is its */
#define ORDERLY 8         /* closing lines in order that end a text without a request */
#define ORDERLY_MS 600000 /* and where its request seems to have no end: so long after */
#define ZONES 256         /* the newest zones and held requests that are remembered */
#define SKEW_MS 5         /* between what a request's clock and the lines' say */
#define FUTURE_MS 300     /* how far a line's time may lie behind the moment of reading */
#define ORPHANS 16384 /* a line that is no record shows a text so far behind its zone */
#define BACK_MS 1000  /* how far a line's time may lie before that of the line before */

/* What is known of a zone once it is over. */
struct zone_fate {
	uint64_t serial;
	unsigned held;  /* lines in it that told what a request does */
	bool betrayed;  /* one of its lines was impossible: there is a text in it */
	int64_t latest; /* of the held lines' times */
};

/* A request of which only a held line is known. */
struct waiting {
	uint64_t number, zone;
	int64_t ts; /* of that line */
};

struct doubt {
	const struct pack *pack;
	pcre2_match_data *data;
	uint32_t method_group, number_group;

	uint64_t newest; /* highest request number so far; 0: none yet */
	uint64_t
	    oldest; /* lowest one that was believed: of older ones nothing is known */
	uint8_t
	    *begun; /* a bit for each number in the window: a line of it was believed */
	uint8_t *over;           /* and its closing line */
	unsigned contradictions; /* outside of any zone; see GIVE_UP */

	int64_t read_at; /* what is taken now was in the log by that time */
	uint64_t number; /* of the line judged last */
	struct until *until;
	int64_t
	    clock;  /* by which stretches grow old: read_at, but for lines read again */
	bool again; /* the line judged last was read again */
	bool betrayed;     /* and is a second sequel, */
	uint64_t betrayer; /* of the stretch behind that line */

	/* The zone behind a line that may carry text. */
	bool zone;
	bool settled; /* the last record closed a request that was held rightly */
	bool carrier_numbered;
	struct buf carrier; /* the context of that line */
	bool beyond;        /* behind all that the text is expected to hold */
	uint64_t zone_end;  /* the text is not expected to reach beyond */
	uint64_t zone_last; /* and can't reach beyond; UINT64_MAX: nobody knows */
	uint64_t serial;    /* of the newest zone */
	bool zone_until;    /* a stretch is open for it */
	uint64_t zone_number, zone_file, zone_offset; /* of the line that opened it */
	int64_t zone_ts, zone_read_at;
	int64_t first_ts; /* where it lies within others: of the outermost */
	unsigned guesses;
	unsigned orderly; /* closing lines without an impossible line among them */
	unsigned grace;   /* closing lines still to be in order */
	struct zone_fate fates[ZONES];
	struct waiting waiting[ZONES];
};

/* A record's request, if its context is one. */
struct request {
	bool numbered;
	uint64_t number;
	struct slice method;
};

struct doubt *
doubt_new(const struct pack *pack)
{
	struct doubt *d = xcalloc(1, sizeof(*d));
	size_t i;

	d->pack = pack;
	d->read_at = d->clock = INT64_MIN;
	d->until = until_new();
	if (pack->request == NULL)
		return d;
	for (i = 0; i < pack->request->capture_count; i++) {
		if (strcmp(pack->request->captures[i].name, "method") == 0)
			d->method_group = pack->request->captures[i].group;
		else if (strcmp(pack->request->captures[i].name, "number") == 0)
			d->number_group = pack->request->captures[i].group;
	}
	d->data = pcre2_match_data_create_from_pattern(pack->request->code, NULL);
	if (d->data == NULL)
		mem_exhausted();
	d->begun = xcalloc(WINDOW / 8, 1);
	d->over = xcalloc(WINDOW / 8, 1);
	return d;
}

void
doubt_free(struct doubt *d)
{
	if (d == NULL)
		return;
	pcre2_match_data_free(d->data);
	buf_free(&d->carrier);
	until_free(d->until);
	free(d->begun);
	free(d->over);
	free(d);
}

/* ---- request numbers ------------------------------------------------------------ */

static bool
bit(const uint8_t *bits, uint64_t number)
{
	return (bits[number % WINDOW / 8] >> (number % 8) & 1) != 0;
}

static void
set_bit(uint8_t *bits, uint64_t number, bool on)
{
	uint8_t mask = (uint8_t)(1u << (number % 8));

	if (on)
		bits[number % WINDOW / 8] |= mask;
	else
		bits[number % WINDOW / 8] &= (uint8_t)~mask;
}

static bool
in_window(const struct doubt *d, uint64_t number)
{
	return d->newest == 0 || number > d->newest || d->newest - number < WINDOW;
}

/* Move the window on to number; what it takes over from the far end is new. */
static void
advance(struct doubt *d, uint64_t number)
{
	uint64_t n;

	if (number <= d->newest)
		return;
	if (d->newest == 0 || number - d->newest >= WINDOW) {
		memset(d->begun, 0, WINDOW / 8);
		memset(d->over, 0, WINDOW / 8);
	} else {
		for (n = d->newest + 1; n <= number; n++) {
			set_bit(d->begun, n, false);
			set_bit(d->over, n, false);
		}
	}
	d->newest = number;
}

static struct slice
group(const struct doubt *d, const struct record *r, uint32_t number)
{
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(d->data);

	if (number == 0 || ov[2 * number] == PCRE2_UNSET)
		return (struct slice){NULL, 0};
	return (struct slice){r->part[PART_CONTEXT].p + ov[2 * number],
	    ov[2 * number + 1] - ov[2 * number]};
}

static struct request
request_of(const struct doubt *d, const struct record *r)
{
	struct slice context = r->part[PART_CONTEXT], digits;
	struct request q = {0};
	size_t i;

	if (d->pack->request == NULL || context.len == 0 ||
	    pcre2_match(d->pack->request->code, (PCRE2_SPTR)context.p, context.len, 0, 0,
		d->data, NULL) < 0)
		return q;
	digits = group(d, r, d->number_group);
	if (digits.len == 0 || digits.len > 18)
		return q;
	for (i = 0; i < digits.len; i++)
		q.number = q.number * 10 + (uint64_t)(digits.p[i] - '0');
	q.method = group(d, r, d->method_group);
	q.numbered = true;
	return q;
}

void
doubt_reset(struct doubt *d)
{
	d->newest = 0;
	d->contradictions = 0;
	d->zone = false;
	memset(d->waiting, 0, sizeof(d->waiting));
}

void
doubt_clock(struct doubt *d, int64_t read_at)
{
	d->read_at = read_at;
}

/* ---- judging ----------------------------------------------------------------------- */

/* A decimal number of seconds in ms, rounded up; at most a day. */
static int64_t
decimal_ms(struct slice text)
{
	int64_t ms = 0, unit = 1000;
	bool fraction = false;
	size_t i;

	for (i = 0; i < text.len && ms < 86400000; i++) {
		if (text.p[i] == '.')
			fraction = true;
		else if (!fraction)
			ms = ms * 10 + (text.p[i] - '0') * 1000;
		else if ((unit /= 10) > 0)
			ms += (text.p[i] - '0') * unit;
	}
	return ms + 1;
}

static bool
closes(const struct match *matches, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (matches[i].rule->ends)
			return true;
	return false;
}

static bool
imitates(const struct match *matches, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (matches[i].rule->suspect)
			return true;
	return false;
}

/* What a closing line says of how long its request took, in ms; -1: nothing. */
static int64_t
took_ms(const struct match *matches, size_t count)
{
	size_t i, c;

	for (i = 0; i < count; i++)
		for (c = 0; c < matches[i].capture_count; c++)
			if (matches[i].rule->ends &&
			    strcmp(matches[i].captures[c].name, "took") == 0)
				return decimal_ms(matches[i].captures[c].value.items[0]);
	return -1;
}

/* A closing line names the method of its request a second time. */
static bool
other_method(const struct request *q, const struct match *matches, size_t count)
{
	size_t i, c;

	for (i = 0; i < count; i++)
		for (c = 0; c < matches[i].capture_count; c++)
			if (matches[i].rule->ends &&
			    strcmp(matches[i].captures[c].name, "method") == 0 &&
			    !slice_eq(matches[i].captures[c].value.items[0], q->method))
				return true;
	return false;
}

static bool
is_carrier(const struct doubt *d, const struct record *r)
{
	return slice_eq(
	    r->part[PART_CONTEXT], (struct slice){d->carrier.p, d->carrier.len});
}

/*
 * Does a line's time show whether it can be true?  Not beside the number that only
 * the server knows, and not where the log was read before the time that stands in
 * it: there the clock was set back.
 */
static bool
time_shows(const struct doubt *d, const struct record *r)
{
	return d->zone && r->ts_of_line && !(d->carrier_numbered && is_carrier(d, r)) &&
	    d->read_at >= d->zone_ts - FUTURE_MS;
}

static bool
lies_before(const struct doubt *d, const struct record *r)
{
	return time_shows(d, r) && r->ts < d->zone_ts - BACK_MS;
}

/* What in a record can't be true; NULL if nothing. */
static const char *
contradiction(
    const struct doubt *d, const struct record *r, const struct request *q, bool other)
{
	if (lies_before(d, r))
		return "its time lies before that of the line that carried it";
	if (time_shows(d, r) && r->ts > d->read_at + FUTURE_MS)
		return "its time was still to come when the log was written";
	if (!q->numbered || d->newest == 0)
		return NULL;
	if (!in_window(d, q->number))
		return "its request is long over";
	if (q->number <= d->newest && bit(d->over, q->number))
		return "its request was over already";
	if (d->zone && q->number > d->newest + AHEAD)
		return "its request's number is far ahead";
	if (d->zone && q->number + BEHIND < d->oldest)
		return "its request's number is of long before the log was first read";
	if (other)
		return "its method is not its request's";
	return NULL;
}

static bool
known_request(const struct doubt *d, const struct request *q)
{
	return q->numbered && d->newest != 0 && q->number <= d->newest &&
	    in_window(d, q->number) && bit(d->begun, q->number);
}

/* The record is believed: what it shows of its request is known from now on. */
static void
learn(struct doubt *d, const struct request *q, bool closing)
{
	if (!q->numbered)
		return;
	if (d->newest == 0 || q->number < d->oldest)
		d->oldest = q->number;
	advance(d, q->number);
	set_bit(d->begun, q->number, true);
	if (closing)
		set_bit(d->over, q->number, true);
	if (d->contradictions > 0)
		d->contradictions--;
}

static struct zone_fate *
fate_of(struct doubt *d, uint64_t serial)
{
	return &d->fates[serial % ZONES];
}

/*
 * A zone within one goes on with its guesses, and its length: its author may
 * have written the line that seems to open it.
 */
static void
open_zone(struct doubt *d, const struct doubt_line *line)
{
	const struct record *r = line->record;
	const struct pack_rule *rule = line->carrier->rule;
	uint64_t last = line->longest == 0 ? UINT64_MAX : line->end + line->longest;

	if (!d->zone) {
		d->guesses = 0;
		d->grace = 0;
		d->first_ts = r->ts;
		d->zone_last = 0;
	}
	d->zone = true;
	d->carrier_numbered = request_of(d, r).numbered;
	buf_reset(&d->carrier);
	buf_add(&d->carrier, r->part[PART_CONTEXT].p, r->part[PART_CONTEXT].len);
	d->zone_end = line->end + (line->longest > rule->raw ? line->longest : rule->raw);
	if (last > d->zone_last)
		d->zone_last = last;
	d->zone_ts = r->ts;
	d->zone_read_at = d->read_at;
	d->orderly = 0;
	d->serial++;
	*fate_of(d, d->serial) =
	    (struct zone_fate){.serial = d->serial, .latest = INT64_MIN};
	d->zone_number = d->number;
	d->zone_file = line->file;
	d->zone_offset = line->offset;
	d->zone_until = rule->until != NULL;
	if (d->zone_until)
		until_open(d->until, line, d->zone_end,
		    pack_rule_find(d->pack, rule->until), d->number, d->clock);
	else if (d->pack->request == NULL && last == UINT64_MAX)
		until_open(
		    d->until, line, d->zone_end + ORPHANS, NULL, d->number, d->clock);
}

/*
 * A zone ends where no text reaches, and long after it was read.  A line that a
 * text began ends with it, or with what the server writes behind it.
 */
static void
outlive_zone(struct doubt *d, const struct doubt_line *line)
{
	d->beyond = line->begin > d->zone_end;
	if (line->end > d->zone_last || (d->beyond && d->pack->request == NULL))
		d->zone = false;
	if (d->read_at < d->zone_read_at)
		d->zone_read_at = d->read_at; /* the clock was set back */
	if (d->read_at != INT64_MIN && d->zone_read_at != INT64_MIN &&
	    d->read_at - d->zone_read_at >= STALE_MS)
		d->zone = false;
	until_close(d->until, line->end, d->clock);
	if (d->zone_until && !until_is_open(d->until, d->zone_number))
		d->zone = d->zone_until = false;
}

/* A line in the zone is impossible, or a closing one that nothing is known of. */
static void
guessed(struct doubt *d, bool closing)
{
	d->orderly = 0;
	if (closing)
		d->guesses++;
	if (d->grace > 0)
		d->grace = GRACE;
}

/* Where little is known of the log, an unknown number may be an impossible one. */
static bool
is_young(const struct doubt *d)
{
	return d->newest == 0 || (d->oldest > YOUNG && d->newest - d->oldest < YOUNG);
}

/*
 * A zone ends where its request does: the number of that request is what the
 * text's author can't know.  But one who tries many numbers may hit it.
 */
static void
end_of_carrier(struct doubt *d)
{
	if (d->guesses > GUESSES)
		d->grace = GRACE;
	else
		d->zone = false;
}

/*
 * An unknown request's closing line that is possible: it tells nothing, but who
 * does not know the numbers can't go on with such lines for long.  So they end
 * a zone that has no request's line to end it.
 */
static void
in_order(struct doubt *d, const struct record *r, const struct request *q, bool numbered)
{
	int64_t age = r->ts - d->zone_ts;

	advance(d, q->number);
	d->orderly++;
	if (d->grace > 1)
		d->grace--;
	else if (d->grace == 1 && r->ts >= d->first_ts + CALM_MS)
		d->zone = false;
	else if (d->grace == 0 && d->orderly >= ORDERLY &&
	    (!numbered || d->beyond || age >= ORDERLY_MS))
		end_of_carrier(d);
}

/* A request begins with a line that is held. */
static void
wait_for(struct doubt *d, const struct record *r, const struct request *q)
{
	struct zone_fate *fate = fate_of(d, d->serial);
	struct waiting *w = &d->waiting[q->number % ZONES];

	fate->held++;
	if (r->ts > fate->latest)
		fate->latest = r->ts;
	if (w->number == q->number && r->ts > w->ts)
		w->zone = d->serial;
	else
		*w = (struct waiting){q->number, d->serial, r->ts};
}

/*
 * A closing line outside of any zone, of a request of which only held lines are
 * known: were they its own?  Not where their zone betrayed a text, nor where
 * the request began after them.
 */
static bool
waited_rightly(struct doubt *d, const struct record *r, const struct request *q,
    const struct match *matches, size_t count)
{
	struct waiting *w = &d->waiting[q->number % ZONES];
	const struct zone_fate *fate = fate_of(d, w->zone);
	int64_t took = took_ms(matches, count);

	if (!q->numbered)
		return true;
	if (w->number != q->number || fate->serial != w->zone || fate->betrayed ||
	    fate->held > HELD_MAX)
		return false;
	return r->ts + SKEW_MS >= w->ts && (took < 0 || r->ts - took <= w->ts + SKEW_MS);
}

static enum doubt_verdict
judge_in_zone(struct doubt *d, const struct record *r, const struct request *q,
    bool closing, bool matters, const char **why_r)
{
	bool carrier = is_carrier(d, r);
	bool believed = carrier ? closing : known_request(d, q);
	struct zone_fate *fate = fate_of(d, d->serial);

	if (believed && closing && d->guesses > GUESSES) {
		/* One of its tries may have hit; what a request does is not told by it. */
		believed = false;
		learn(d, q, closing);
		if (carrier && d->grace == 0)
			end_of_carrier(d);
	}
	if (believed) {
		if (r->ts + BACK_MS < fate->latest)
			fate->betrayed = true;
		if (carrier && d->grace == 0)
			end_of_carrier(d);
		learn(d, q, closing);
		return DOUBT_NONE;
	}
	if (!matters)
		return DOUBT_NONE;
	if (closing && d->grace == 0 && is_young(d))
		guessed(d, closing);
	if (closing && q->numbered)
		in_order(d, r, q, d->carrier_numbered);
	else if (!closing && q->numbered)
		wait_for(d, r, q);
	*why_r =
	    "it stands behind a line that may carry a user's text, and nothing before "
	    "that line is known of its request";
	return DOUBT_HELD;
}

/*
 * Where so much lies before the text, the clock may have been set back.  In a log
 * that is read long after it was written nothing but its lines can show that, by
 * going on in order at the new time, as behind a text that tries numbers.
 */
static void
go_back(struct doubt *d, const struct record *r)
{
	if (d->guesses > GUESSES && lies_before(d, r) &&
	    d->read_at - d->zone_ts >= STALE_MS)
		d->zone_ts = d->first_ts = r->ts;
}

/* Outside of any zone one contradiction is odd; many of them are a server begun anew. */
static enum doubt_verdict
contradicted(
    struct doubt *d, const struct record *r, const struct request *q, bool closing)
{
	if (d->zone) {
		fate_of(d, d->serial)->betrayed = true;
		guessed(d, closing);
		go_back(d, r);
	} else if ((d->contradictions += 2) >= GIVE_UP) {
		doubt_reset(d);
		learn(d, q, closing);
	}
	return DOUBT_FORGED;
}

/*
 * Stretches grow old by the moment of reading.  When lines that are read again
 * were read first, nobody knows: what they leave open is taken as read now, so
 * that an event may be told a second time, but never lost; the store knows its
 * place.
 */
static void
tell_time(struct doubt *d, const struct doubt_line *line)
{
	if (line->again) {
		d->again = true;
		return;
	}
	d->clock = d->read_at;
	if (d->again)
		until_wait_anew(d->until, d->clock);
	d->again = false;
}

/*
 * The first sequel of the zone's text may be of the text: what follows is pending.
 * True where the line is held for it.
 */
static bool
sequel(struct doubt *d, const struct doubt_line *line, const char **why_r)
{
	bool here = d->zone && d->zone_until;
	enum until_sequel what = until_line(d->until, line, &d->betrayer);
	size_t i;

	d->betrayed = what == SEQUEL_SECOND;
	if (here && what == SEQUEL_FIRST && d->betrayer == d->zone_number)
		d->zone = false;
	for (i = 0; here && d->zone && i < line->match_count; i++) {
		if (!line->matches[i].rule->resets)
			continue;
		until_restart(d->until);
		d->zone = false;
		*why_r = "it stands behind a line that may carry a user's text, and "
			 "what follows will show whether the server began anew";
		return true;
	}
	return false;
}

enum doubt_verdict
doubt_line(struct doubt *d, const struct doubt_line *line, const char **why_r)
{
	const struct record *r = line->record;
	const struct match *matches = line->matches;
	size_t count = line->match_count;
	struct request q = request_of(d, r);
	bool closing = closes(matches, count);
	enum doubt_verdict verdict = DOUBT_NONE;

	d->number++;
	d->settled = d->betrayed = false;
	tell_time(d, line);
	outlive_zone(d, line);
	*why_r = contradiction(d, r, &q, closing && other_method(&q, matches, count));
	if (*why_r != NULL)
		return contradicted(d, r, &q, closing);
	if (sequel(d, line, why_r))
		return DOUBT_HELD;
	if (d->zone)
		verdict = judge_in_zone(d, r, &q, closing, count > 0, why_r);
	else if (count > 0)
		learn(d, &q, closing);
	d->settled = verdict == DOUBT_NONE && closing && !d->zone &&
	    waited_rightly(d, r, &q, matches, count);
	if (verdict != DOUBT_NONE) {
		/* Without numbers nothing but its length ends a text; this one may go on. */
		if (line->carrier != NULL && d->pack->request == NULL)
			d->zone_end = line->end + line->carrier->rule->raw;
		return verdict;
	}
	if (line->carrier != NULL)
		open_zone(d, line);
	if (!imitates(matches, count))
		return until_pending(d->until) ? DOUBT_PENDING : DOUBT_NONE;
	*why_r = "an address or agent in it imitates a line of this kind";
	return DOUBT_HELD;
}

bool
doubt_needs(const struct doubt *d, uint64_t *file_r, uint64_t *offset_r)
{
	uint64_t number;
	bool open = until_oldest(d->until, &number, file_r, offset_r);

	if (!d->zone || (open && number < d->zone_number))
		return open;
	*file_r = d->zone_file;
	*offset_r = d->zone_offset;
	return true;
}

void
doubt_idle(struct doubt *d, int64_t now)
{
	if (d->again)
		until_wait_anew(d->until, now);
	d->again = false;
	until_close(d->until, now == INT64_MAX ? UINT64_MAX : 0, now);
}

uint64_t
doubt_number(const struct doubt *d)
{
	return d->number;
}

uint64_t
doubt_decided(const struct doubt *d)
{
	uint64_t number, file, offset;

	return until_oldest(d->until, &number, &file, &offset) ? number : UINT64_MAX;
}

bool
doubt_listens(const struct doubt *d)
{
	uint64_t number;

	return until_orphan(d->until, &number);
}

void
doubt_orphan(struct doubt *d)
{
	d->betrayed = until_orphan(d->until, &d->betrayer);
}

bool
doubt_betrayed(const struct doubt *d, uint64_t *number_r)
{
	*number_r = d->betrayer;
	return d->betrayed;
}

bool
doubt_is_open(const struct doubt *d)
{
	return d->zone;
}

bool
doubt_settled(const struct doubt *d)
{
	return d->settled;
}
