#include "extract/doubt.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "decode/record.h"
#include "match/match.h"
#include "pack/pack.h"

#define WINDOW (1u << 18) /* request numbers that are remembered */
#define AHEAD 256  /* a request's number runs this far before the newest, at most */
#define BEHIND 64  /* a request that was open at our start has a number this near */
#define GIVE_UP 16 /* twice the contradictions, less the rest, where no text is near */
#define GUESSES                                                                          \
	3 /* closing lines of unknown requests behind one text: it tries numbers */
#define HELD_MAX 2   /* requests begun behind one text that may be real */
#define GRACE 16     /* closing lines that must be in order after such a text */
#define BACK_MS 1000 /* how far a line's time may lie before that of the line before */

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

	/* The zone behind a line that may carry text. */
	bool zone;
	bool carried;       /* the last record opened it */
	struct buf carrier; /* the context of that line */
	uint64_t zone_end;  /* offset: no text reaches beyond */
	int64_t zone_ts;
	unsigned guesses;
	unsigned held;  /* lines in the newest zone that told what a request does */
	unsigned grace; /* closing lines still to be in order */
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
}

/* ---- judging ----------------------------------------------------------------------- */

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

/* Text of this many bytes may stand at the record's end, and go on behind it. */
static uint64_t
raw_bytes(const struct match *matches, size_t count)
{
	uint64_t most = 0;
	size_t i;

	for (i = 0; i < count; i++)
		if (matches[i].rule->raw > most)
			most = matches[i].rule->raw;
	return most;
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

/* What in a record can't be true; NULL if nothing. */
static const char *
contradiction(
    const struct doubt *d, const struct record *r, const struct request *q, bool other)
{
	if (d->zone && r->ts_of_line && r->ts < d->zone_ts - BACK_MS)
		return "its time lies before that of the line that carried it";
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

static void
open_zone(struct doubt *d, const struct record *r, uint64_t end)
{
	d->zone = d->carried = true;
	buf_reset(&d->carrier);
	buf_add(&d->carrier, r->part[PART_CONTEXT].p, r->part[PART_CONTEXT].len);
	d->zone_end = end;
	d->zone_ts = r->ts;
	d->guesses = 0;
	d->held = 0;
	d->grace = 0;
}

/*
 * A zone ends where its request does: the number of that request is what the
 * text's author can't know.  But one who tries many numbers may hit it.
 */
static void
closed_in_zone(struct doubt *d, bool carrier, bool believed)
{
	if (!believed) {
		d->guesses++;
		if (d->grace > 0)
			d->grace = GRACE;
		return;
	}
	if (d->grace > 0)
		d->zone = --d->grace > 0;
	else if (carrier && d->guesses > GUESSES)
		d->grace = GRACE;
	else if (carrier)
		d->zone = false;
}

static enum doubt_verdict
judge_in_zone(struct doubt *d, const struct record *r, const struct request *q,
    bool closing, bool matters, const char **why_r)
{
	bool carrier = is_carrier(d, r), believed;

	believed = carrier ? closing : known_request(d, q);
	if (d->grace > 0 && closing && q->numbered)
		believed = true;
	if (closing)
		closed_in_zone(d, carrier, believed);
	if (believed || !matters) {
		if (believed)
			learn(d, q, closing);
		return DOUBT_NONE;
	}
	*why_r =
	    "it stands behind a line that may carry a user's text, and nothing before "
	    "that line is known of its request";
	return DOUBT_HELD;
}

/* Outside of any zone one contradiction is odd; many of them are a server begun anew. */
static enum doubt_verdict
contradicted(struct doubt *d, const struct request *q, bool closing)
{
	if (d->zone) {
		if (closing)
			closed_in_zone(d, false, false);
	} else if ((d->contradictions += 2) >= GIVE_UP) {
		doubt_reset(d);
		learn(d, q, closing);
	}
	return DOUBT_FORGED;
}

enum doubt_verdict
doubt_record(struct doubt *d, uint64_t offset, const struct record *r,
    const struct match *matches, size_t count, const char **why_r)
{
	struct request q = request_of(d, r);
	bool closing = closes(matches, count);
	uint64_t raw = raw_bytes(matches, count);
	enum doubt_verdict verdict = DOUBT_NONE;

	d->carried = false;
	if (d->zone && offset > d->zone_end)
		d->zone = false;
	*why_r = contradiction(d, r, &q, closing && other_method(&q, matches, count));
	if (*why_r != NULL)
		return contradicted(d, &q, closing);
	if (d->zone)
		verdict = judge_in_zone(d, r, &q, closing, count > 0, why_r);
	else if (count > 0)
		learn(d, &q, closing);
	if (verdict != DOUBT_NONE) {
		/* Without numbers nothing but its length ends a text; this one may go on. */
		if (raw > 0 && d->pack->request == NULL)
			d->zone_end = offset + r->part[PART_MESSAGE].len + raw;
		return verdict;
	}
	if (raw > 0)
		open_zone(d, r, offset + r->part[PART_MESSAGE].len + raw);
	if (!imitates(matches, count))
		return DOUBT_NONE;
	*why_r = "an address or agent in it imitates a line of this kind";
	return DOUBT_HELD;
}

bool
doubt_in_zone(const struct doubt *d)
{
	return d->zone;
}

bool
doubt_settled(const struct doubt *d)
{
	return !d->zone && d->held <= HELD_MAX;
}

bool
doubt_carried(const struct doubt *d)
{
	return d->carried;
}
