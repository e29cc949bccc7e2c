/*
 * Logs in which a user's text stands, and what must and must not be told of
 * them.  Each test is for one guard of extract/doubt.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/teller.h"
#include "extract/account_event.h"
#include "pack/pack.h"
#include "pack_text.h"

#define NOON INT64_C(1795435200000) /* 2026-11-23T12:00:00Z */
#define MINUTE 60000
#define AUTUMN INT64_C(1792886400000) /* 2026-10-25T00:00:00Z */
#define RAW 400

static const char about[] =
    "name = \"trial\"; title = \"Trial\"; versions = \"1\"; needs = \"nothing\";\n"
    "tested = \"source\";\n"
    "request = \"(?<method>[A-Z]{1,10})-(?<number>\\\\d{1,12})\";\n"
    "formats = ( { name = \"plain\"; kind = \"regex\"; time = \"iso\"; forgeable = true;\n"
    "  pattern = \"%{timestamp:time} (?<context>\\\\S{1,40}) (?<message>.*)\"; } );\n"
    "rules = (\n"
    "{ name = \"started\"; match = \"started\"; remember = true; },\n"
    "{ name = \"enter\"; match = \"enter %{user_id:user}\"; remember = true; },\n"
    "{ name = \"plain\"; match = \"asked [a-z]*\"; remember = true; },\n"
    "{ name = \"quoted\"; match = \"asked '(?<quoted>.*)'\"; remember = true; },\n"
    "{ name = \"raw\"; match = \"refused .*\"; without = [ \"plain\", \"quoted\" ]; raw = 400; },\n"
    "{ name = \"known\"; match = \"refused .*\"; with = \"quoted\"; raw = 5; escaped = \"quoted\"; },\n"
    "{ name = \"short\"; match = \"bounded .*\"; raw = 130; longest = 130; },\n"
    "{ name = \"login\"; match = \"done %{decimal} [A-Z]{1,10} login\";\n"
    "  with = \"enter\"; once = true; emit = { type = \"login\"; user_id = \"$user\"; }; },\n"
    "{ name = \"gone\"; match = \"done %{decimal} [A-Z]{1,10} gone %{user_id:user}\";\n"
    "  emit = { type = \"gone\"; user_id = \"$user\"; }; },\n"
    "{ name = \"over\"; match = \"done %{decimal:took} (?<method>[A-Z]{1,10}) .*\";\n"
    "  ends = true; } );\n";

/* Lines without requests: what may carry a text names what follows it, once. */
static const char about_lines[] =
    "name = \"lines\"; title = \"Lines\"; versions = \"1\"; needs = \"nothing\";\n"
    "tested = \"source\";\n"
    "formats = ( { name = \"plain\"; kind = \"regex\"; time = \"iso\"; forgeable = true;\n"
    "  pattern = \"%{timestamp:time} (?<context>\\\\S{1,40}) (?<message>.*)\"; } );\n"
    "rules = (\n"
    "{ name = \"start\"; match = \"the server starts\"; resets = true; },\n"
    "{ name = \"made\"; match = \"made %{user_id:user} called .*\";\n"
    "  raw = 2000; until = \"ready\"; },\n"
    "{ name = \"ready\"; match = \"ready %{user_id:user}\"; remember = true; key = \"user\"; },\n"
    "{ name = \"rejected\"; match = \"rejected .*\"; raw = 200; },\n"
    "{ name = \"login\"; match = \"login %{user_id:user}\";\n"
    "  emit = { type = \"login\"; user_id = \"$user\"; }; } );\n";

struct scene {
	struct teller *teller;
	struct teller_log *log;
	struct arena *arena;
	struct account_events events;
	struct buf text;
	uint64_t offset;
	int64_t now; /* ms behind noon: of the lines, and of the reading */
};

static struct pack *pack, *lines;
static struct zone *zone;

static int
set_up(void **state)
{
	struct err_list errs = {0};

	(void)state;
	pack = pack_of_text(about, &errs);
	lines = pack_of_text(about_lines, &errs);
	if (pack == NULL || lines == NULL)
		fail_msg("%s", errs.texts[0]);
	zone = zone_open("UTC", NULL);
	return zone == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	zone_close(zone);
	pack_free(pack);
	pack_free(lines);
	return 0;
}

/* What was written is read, ms after the scene's time. */
static void
look_later(struct scene *s, int64_t ms)
{
	const struct teller_chunk c = {
	    .file = 7,
	    .offset = s->offset,
	    .data = s->text.p,
	    .len = s->text.len,
	    .fallback_ms = NOON + s->now + ms,
	};

	if (s->text.len == 0)
		return;
	teller_chunk(s->log, &c, s->arena, &s->events, NULL);
	s->offset += s->text.len;
	buf_reset(&s->text);
}

static void
look(struct scene *s)
{
	look_later(s, 0);
}

/* A line of the request METHOD-number, or of other work where method has a hyphen. */
static void
line(struct scene *s, const char *method, int number, const char *message)
{
	int64_t ms = s->now;

	buf_addf(&s->text, "2026-11-23T%02d:%02d:%02d.%03dZ %s-%d %s\n",
	    (int)(12 + ms / 3600000), (int)(ms / MINUTE % 60), (int)(ms / 1000 % 60),
	    (int)(ms % 1000), method, number, message);
}

/* The requests first to last, a tenth of a second each, with nothing to tell. */
static void
requests(struct scene *s, int first, int last)
{
	int n;

	for (n = first; n <= last; n++) {
		s->now += 100;
		line(s, "GET", n, "done 0.050 GET page");
	}
}

static void
begin_in(struct scene *s, const struct pack *p, const struct zone *z)
{
	static const struct extract_limits limits = {.timeout_ms = 600000, .max = 1000};

	*s = (struct scene){.offset = 0};
	s->teller = teller_new("example.org", &limits);
	s->log = teller_log_new(s->teller, p, z);
	s->arena = arena_new();
	s->events.last = &s->events.first;
}

static void
begin_with(struct scene *s, const struct pack *p)
{
	begin_in(s, p, zone);
}

/* A log that goes on for a while; its newest request is 1000. */
static void
begin(struct scene *s)
{
	begin_with(s, pack);
	requests(s, 500, 1000);
	look(s);
}

/* How many events tell of the user; forged: only suspect it. */
static unsigned
told(const struct scene *s, const char *user, bool forged)
{
	const struct account_event *ev;
	unsigned count = 0;

	for (ev = s->events.first; ev != NULL; ev = ev->next)
		if (strstr(ev->content, user) != NULL)
			count +=
			    (strcmp(ev->type, TYPE_FORGERY_SUSPECTED) == 0) == forged;
	return count;
}

static void
end(struct scene *s)
{
	teller_free(s->teller);
	arena_free(s->arena);
	buf_free(&s->text);
}

static void
login(struct scene *s, int number, const char *user)
{
	char *enter = xasprintf("enter @%s:example.org", user);

	line(s, "POST", number, enter);
	line(s, "POST", number, "done 0.030 POST login");
	free(enter);
}

static void
a_guess_is_held(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	login(&s, 1005, "victim");
	line(&s, "POST", 1001, "done 0.010 POST register");
	requests(&s, 1002, 1004);
	login(&s, 1006, "ada");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* One of many numbers is the right one; neither it nor what follows is believed. */
static void
many_tries_do_not_hit(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	for (n = 950; n < 1050; n++) {
		line(&s, "POST", n, "done 0.010 POST gone @victim:example.org");
		login(&s, n + 60, "victim");
	}
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);

	/* The log is believed again when it has gone on in order. */
	requests(&s, 1120, 1240);
	login(&s, 1241, "ada");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* A line within the text that seems to open a zone of its own does not clear its tries. */
static void
tries_outlive_a_second_carrier(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1002, "started");
	line(&s, "POST", 1001, "refused x");
	for (n = 950; n <= 1002; n++) {
		line(&s, "POST", n, "refused x");
		line(&s, "POST", n, "done 0.010 POST register");
	}
	login(&s, 1010, "victim");
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* The end of a request takes up a held line only if the request ran when it was written. */
static void
a_held_line_waits_for_its_own_request(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	line(&s, "POST", 1002, "enter @victim:example.org");
	line(&s, "POST", 1003, "enter @ada:example.org");
	s.now += 10;
	line(&s, "POST", 1001, "done 0.010 POST register");
	s.now += 1000;
	line(&s, "POST", 1002, "done 0.020 POST login");
	line(&s, "POST", 1003, "done 1.050 POST login");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* An impossible line shows that there is a text: nothing of its zone is taken up. */
static void
a_betrayed_zone_gives_nothing(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	line(&s, "POST", 990, "enter @victim:example.org");
	line(&s, "POST", 1002, "enter @victim:example.org");
	s.now += 10;
	line(&s, "POST", 1001, "done 0.010 POST register");
	line(&s, "POST", 1002, "done 0.050 POST login");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* A text may be longer than expected: requests in order must follow it. */
static void
length_alone_ends_no_zone(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	for (n = 0; n < RAW; n++)
		buf_addf(&s.text, "%d bottles\n", n);
	login(&s, 1010, "victim");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);

	requests(&s, 1011, 1020);
	login(&s, 1021, "ada");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* Work that is no request has no last line: requests in order end its zone. */
static void
requests_end_the_zone_of_other_work(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "push-other", 3, "refused x");
	login(&s, 1005, "victim");
	login(&s, 900000, "victim");
	requests(&s, 1006, 1016);
	login(&s, 1017, "ada");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* A server that is killed behind a text begins anew; a text is read at once. */
static void
a_zone_grows_old(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	look(&s);
	for (n = 1; n < 20; n++) {
		s.now += 10000;
		login(&s, n, n < 15 ? "ben" : "ada");
		look(&s);
	}
	assert_int_equal(told(&s, "ada", false), 5);
	end(&s);
}

/* A text can't wait: the moment that it names must have come when it is read. */
static void
what_is_to_come_was_not_written(void **state)
{
	struct scene s;
	int64_t now;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	now = s.now;
	for (n = 950; n < 1050; n++) {
		s.now += 1000;
		line(&s, "POST", n, "done 0.010 POST register");
	}
	login(&s, 1050, "victim");
	s.now = now;
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* Logins of count requests from first on, a tenth of a second each. */
static void
logins(struct scene *s, int first, int count, const char *user)
{
	for (; count > 0; count--) {
		s->now += 100;
		login(s, first++, user);
	}
}

/* The clock is set within a request with a text: its number ends it at any time. */
static void
a_request_ends_at_any_time(void **state)
{
	static const int64_t steps[] = {-65000, -3600000, 3600000};
	struct scene s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		begin(&s);
		s.now += 7200000;
		line(&s, "POST", 1001, "refused x");
		s.now += steps[i];
		line(&s, "POST", 1001, "done 0.010 POST register");
		logins(&s, 1002, 20, "ada");
		/* By a file that is not younger than the text, where lines are. */
		look_later(&s, steps[i] > 0 ? -steps[i] : 5000);
		assert_int_equal(told(&s, "ada", false), 20);
		end(&s);
	}
}

/* The time of the reading shows that it was set, before that request ends. */
static void
a_clock_is_set_back_while_a_log_is_followed(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	look(&s);
	s.now -= 30000;
	requests(&s, 1002, 1020);
	line(&s, "POST", 1001, "done 0.010 POST register");
	login(&s, 1021, "ada");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "ada", true), 0);
	end(&s);
}

/* So does the log itself, where it is read later: it goes on in order. */
static void
a_clock_was_set_back(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	s.now -= 30000;
	requests(&s, 1002, 1010);
	line(&s, "POST", 1001, "done 0.010 POST register");
	requests(&s, 1011, 1040);
	login(&s, 1041, "ada");
	look_later(&s, 3600000);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* A text is not believed for times that have been, as many as it has of them. */
static void
what_has_been_is_not_written_again(void **state)
{
	struct scene s;
	int64_t now;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	now = s.now;
	s.now -= 30000;
	requests(&s, 1002, 1060);
	logins(&s, 1061, 10, "victim");
	s.now = now;
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* Read later, one that goes back ends no doubt by a number that it may have hit. */
static void
a_text_that_goes_back_does_not_hit(void **state)
{
	struct scene s;
	int64_t now;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1002, "started");
	line(&s, "POST", 1001, "refused x");
	now = s.now;
	s.now -= 30000;
	for (n = 1003; n < 1008; n++)
		line(&s, "POST", n, "done 0.010 POST register");
	line(&s, "POST", 1002, "done 0.010 POST gone @victim:example.org");
	line(&s, "POST", 1001, "done 0.010 POST register");
	logins(&s, 1008, 10, "victim");
	s.now = now;
	line(&s, "POST", 1001, "done 0.010 POST register");
	look_later(&s, 3600000);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* Going back for each of its lines, it never is in order. */
static void
a_text_that_goes_back_again_and_again(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	line(&s, "POST", 1001, "done 0.010 POST register");
	line(&s, "POST", 1002, "refused x");
	for (n = 0; n < 100; n++) {
		s.now -= 2000 - 100 * (n % 10);
		line(&s, "GET", 1003 + n, "done 0.050 GET page");
	}
	line(&s, "POST", 1002, "done 0.010 POST register");
	s.now += 3000;
	login(&s, 1110, "victim");
	look_later(&s, 3600000);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* A server is killed behind a text with tries: the log goes on in order behind it. */
static void
tries_without_an_end(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	for (n = 950; n < 1000; n++)
		line(&s, "POST", n, "done 0.010 POST register");
	requests(&s, 1002, 1012);
	login(&s, 1013, "victim");
	requests(&s, 1014, 1040);
	login(&s, 1041, "ada");
	look_later(&s, 3600000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* A minute is a minute, whatever the clock says. */
static void
a_zone_grows_old_by_a_clock_that_is_set(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	s.now += 7200000;
	line(&s, "POST", 1001, "refused x");
	look(&s);
	s.now -= 3600000;
	for (n = 1002; n < 1022; n++) {
		s.now += 10000;
		login(&s, n, n < 1012 ? "ben" : "ada");
		look(&s);
	}
	assert_int_equal(told(&s, "ada", false), 10);
	end(&s);
}

static struct zone *
open_berlin(void)
{
	if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == -1)
		skip();
	return zone_open("Europe/Berlin", NULL);
}

/* A line in the zone of Berlin, in the night that its clocks are set back. */
static void
line_at(struct scene *s, const char *clock, int number, const char *message)
{
	buf_addf(&s->text, "2026-10-25T%s,000 POST-%d %s\n", clock, number, message);
}

static void
login_at(struct scene *s, const char *clock, int number, const char *user)
{
	char *gone = xasprintf("done 0.010 POST gone @%s:example.org", user);

	line_at(s, clock, number, gone);
	free(gone);
}

static int64_t
told_at(const struct scene *s, const char *user)
{
	const struct account_event *ev;

	for (ev = s->events.first; ev != NULL; ev = ev->next)
		if (strstr(ev->content, user) != NULL)
			return ev->ts;
	return INT64_MIN;
}

/* Lines of no rule tell which of the two hours it is, in this chunk and in the last. */
static void
every_line_tells_the_hour(void **state)
{
	static const char *const lines_of[] = {
	    "02:10:00", "02:59:00", "02:00:00", "02:29:00"};
	struct zone *berlin = open_berlin();
	struct scene s;
	size_t looked, i;

	(void)state;
	for (looked = 0; looked <= 4; looked++) {
		begin_in(&s, pack, berlin);
		for (i = 0; i < 4; i++) {
			line_at(&s, lines_of[i], 1, "hello");
			if (looked == i)
				look(&s);
		}
		login_at(&s, "02:30:00", 2, "ada");
		look(&s);
		assert_int_equal(told_at(&s, "ada"), AUTUMN + 90 * MINUTE);
		end(&s);
	}
	zone_close(berlin);
}

/* A text that nothing shows to be one, in a log that is read as it is written. */
static void
no_line_is_of_an_hour_to_come(void **state)
{
	struct zone *berlin = open_berlin();
	struct scene s;

	(void)state;
	begin_in(&s, pack, berlin);
	s.now = AUTUMN - NOON + 5 * MINUTE;
	line_at(&s, "02:05:00", 1, "hello");
	line_at(&s, "02:59:59", 1, "hello");
	login_at(&s, "02:05:00", 2, "ada");
	look(&s);
	assert_int_equal(told_at(&s, "ada"), AUTUMN + 5 * MINUTE);
	end(&s);
	zone_close(berlin);
}

/* The hour that comes twice: what a text says of the time moves no line behind it. */
static void
a_text_sets_no_clock(void **state)
{
	/* Impossible; possible and held; of no rule; of no rule, but with its words. */
	static const char *const lies[] = {"02:59:59,000 POST-1 done 0.010 POST x",
	    "02:59:59,000 POST-1003 done 0.010 POST x", "02:59:59,000 POST-1003 x",
	    "02:59:59,000 POST-1003 undone x"};
	struct zone *berlin = open_berlin();
	struct scene s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		begin_in(&s, pack, berlin);
		login_at(&s, "02:01:00", 1, "ann");
		line_at(&s, "02:02:00", 1001, "started");
		line_at(&s, "02:02:00", 1001, "refused x");
		buf_addf(&s.text, "2026-10-25T%s\n", lies[i]);
		line_at(&s, "02:02:00", 1001, "done 0.010 POST register");
		login_at(&s, "02:03:00", 1005, "ada");
		look(&s);
		assert_int_equal(told_at(&s, "ada") - told_at(&s, "ann"), 2 * MINUTE);
		end(&s);
	}
	zone_close(berlin);
}

/* Requests side by side: one that began behind the text's line is told as well. */
static void
neighbours_are_told(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1002, "started");
	line(&s, "POST", 1001, "refused x");
	s.now += 2;
	line(&s, "POST", 1003, "enter @ben:example.org");
	line(&s, "POST", 1002, "enter @ada:example.org");
	s.now += 2;
	line(&s, "POST", 1002, "done 0.020 POST login");
	line(&s, "POST", 1001, "done 0.010 POST register");
	s.now += 2;
	line(&s, "POST", 1003, "done 0.020 POST login");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "ben", false), 1);
	assert_int_equal(told(&s, "example.org", true), 0);
	end(&s);
}

/* Where no text can be longer, what ends further behind is told; nothing before. */
static void
length_ends_a_bounded_zone(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "bounded x");
	login(&s, 1003, "ada");
	login(&s, 1004, "ben");
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "ada", true), 1);
	assert_int_equal(told(&s, "ben", false), 1);
	end(&s);
}

/* The bound is of characters: what has more bytes does not pass it. */
static void
a_bound_counts_characters(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "bounded x");
	for (n = 0; n < 30; n++)
		buf_adds(&s.text, "\xf0\x9f\x98\x80");
	buf_adds(&s.text, "\n");
	line(&s, "POST", 1003, "done 0.010 POST gone @victim:example.org");
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", true), 1);
	end(&s);
}

/* A bounded text within one that is not: the longer one counts. */
static void
a_bound_within_a_zone_is_no_bound(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1002, "started");
	line(&s, "POST", 1001, "refused x");
	line(&s, "POST", 1002, "bounded x");
	login(&s, 1005, "ada");
	login(&s, 1006, "victim");
	line(&s, "POST", 1002, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* Where the request wrote the same text escaped, nothing of it has a newline. */
static void
an_escaped_copy_clears(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "asked x");
	line(&s, "POST", 1001, "refused x");
	login(&s, 1002, "ada");
	line(&s, "POST", 1001, "done 0.010 POST register");
	line(&s, "POST", 1003, "asked x\\n");
	line(&s, "POST", 1003, "refused x");
	login(&s, 1004, "victim");
	line(&s, "POST", 1003, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	end(&s);
}

/* An escaped copy is as long as the text; what stands further behind is told. */
static void
an_escaped_copy_measures(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001,
	    "asked 'x\\n2026-11-23T12:00:50.100Z POST-1003 done 0.010 POST gone "
	    "@victim:example.org'");
	line(&s, "POST", 1001, "refused x");
	line(&s, "POST", 1003, "done 0.010 POST gone @victim:example.org");
	login(&s, 1004, "ada");
	line(&s, "POST", 1001, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* A copy that a text holds is of no request: it clears nothing. */
static void
a_forged_copy_clears_nothing(void **state)
{
	struct scene s;

	(void)state;
	begin(&s);
	line(&s, "POST", 1001, "refused x");
	line(&s, "POST", 1002, "asked x");
	line(&s, "POST", 1001, "done 0.010 POST register");
	line(&s, "POST", 1002, "asked x\\n");
	line(&s, "POST", 1002, "refused x");
	login(&s, 1004, "victim");
	line(&s, "POST", 1002, "done 0.010 POST register");
	look(&s);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* ---- lines without requests ------------------------------------------------------ */

/* What names no request, a moment behind the line before. */
static void
act(struct scene *s, const char *what, const char *user)
{
	char *message = xasprintf("%s @%s:example.org%s", what, user,
	    strcmp(what, "made") == 0 ? " called x" : "");

	s->now += 2;
	line(s, "work", 1, message);
	free(message);
}

/* The log is read to its end, ms later. */
static void
wait_for(struct scene *s, int64_t ms)
{
	look(s);
	s->now += ms;
	teller_log_idle(s->log, NOON + s->now, s->arena, &s->events);
}

static void
what_follows_the_sequel_is_told(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "login", "ann");
	act(&s, "made", "mallory");
	act(&s, "login", "victim");
	act(&s, "ready", "mallory");
	act(&s, "login", "ada");
	wait_for(&s, 5000);
	assert_int_equal(told(&s, "ann", false), 1);
	assert_int_equal(told(&s, "ada", false), 0);
	assert_true(teller_log_waits(s.log));
	wait_for(&s, 6000);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	assert_false(teller_log_waits(s.log));
	act(&s, "login", "ben");
	look(&s);
	assert_int_equal(told(&s, "ben", false), 1);
	end(&s);
}

static void
a_second_sequel_betrays_the_first(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "mallory");
	act(&s, "ready", "mallory");
	act(&s, "login", "victim");
	act(&s, "ready", "mallory");
	act(&s, "login", "ada");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	assert_int_equal(told(&s, "ada", false), 1);
	/* In the order of the log. */
	assert_non_null(strstr(s.events.first->content, "victim"));
	end(&s);
}

/* All lines have one context here: it exempts none from having its time. */
static void
a_time_that_has_been_betrays(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	s.now += 5000;
	act(&s, "made", "mallory");
	s.now -= 3000;
	act(&s, "ready", "mallory");
	s.now += 3000;
	act(&s, "login", "victim");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	end(&s);
}

static void
another_s_sequel_is_none(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "mallory");
	act(&s, "ready", "accomplice");
	act(&s, "login", "victim");
	act(&s, "ready", "mallory");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	end(&s);
}

/* The text of one of two side by side holds the sequel of the other. */
static void
two_texts_side_by_side(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "mallory");
	act(&s, "made", "accomplice");
	act(&s, "ready", "mallory");
	act(&s, "login", "victim");
	act(&s, "ready", "mallory");
	act(&s, "ready", "accomplice");
	act(&s, "login", "ada");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* The second text comes while the first is pending; its own sequel has to be seen. */
static void
a_text_while_another_is_pending(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "accomplice");
	act(&s, "ready", "accomplice");
	act(&s, "login", "ada");
	act(&s, "made", "mallory");
	act(&s, "login", "victim");
	act(&s, "ready", "mallory");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* A text that is read in two parts is still one. */
static void
a_text_in_two_parts(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "mallory");
	act(&s, "ready", "mallory");
	act(&s, "login", "victim");
	look(&s);
	s.now += 3000;
	act(&s, "ready", "mallory");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* In a log that is read long after it was written, only length tells. */
static void
length_ends_what_is_pending(void **state)
{
	struct scene s;
	int n;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "mallory");
	act(&s, "ready", "mallory");
	act(&s, "login", "ada");
	for (n = 0; n < 60; n++)
		buf_addf(&s.text, "%d bottles\n", n);
	act(&s, "login", "ben");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 0);
	for (n = 0; n < 300; n++)
		buf_addf(&s.text, "%d bottles\n", n);
	act(&s, "login", "cem");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "ben", false), 1);
	assert_int_equal(told(&s, "cem", false), 1);
	end(&s);
}

/* A server that is killed writes no sequel; a text can hold the start of one. */
static void
a_start_may_be_of_the_text(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	act(&s, "made", "accomplice");
	line(&s, "work", 1, "the server starts");
	act(&s, "login", "ada");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "ada", false), 1);
	act(&s, "made", "mallory");
	line(&s, "work", 1, "the server starts");
	act(&s, "login", "victim");
	act(&s, "ready", "mallory");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "victim", true), 1);
	end(&s);
}

/* Lines that nothing is known of, of records or of none; as many as a text may hold. */
static void
fill(struct scene *s, size_t bytes, bool records)
{
	size_t begun = s->text.len;

	while (s->text.len - begun < bytes)
		if (records)
			line(s, "work", 1, "as usual");
		else
			buf_adds(&s->text, "bottles\n");
}

/* No line of a request follows such a text; but what is left of the line it cut does. */
static void
the_rest_of_a_line_betrays(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	line(&s, "work", 1, "rejected x");
	act(&s, "login", "victim");
	fill(&s, 400, true);
	act(&s, "login", "admin");
	buf_adds(&s.text, "\"\n");
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	assert_int_equal(told(&s, "admin", false), 0);
	assert_int_equal(told(&s, "admin", true), 1);
	act(&s, "login", "ada");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	end(&s);
}

/* It betrays across chunks, and within a text that holds more such lines. */
static void
lines_of_no_record_betray(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	line(&s, "work", 1, "rejected x");
	fill(&s, 1000, false);
	act(&s, "login", "victim");
	look(&s);
	fill(&s, 1000, true);
	look(&s);
	fill(&s, 10, false);
	wait_for(&s, 11000);
	assert_int_equal(told(&s, "victim", false), 0);
	end(&s);
}

/* Nothing betrays a text: what stands behind as many characters as expected is told. */
static void
what_nothing_betrays_is_told(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	line(&s, "work", 1, "rejected x");
	fill(&s, 400, true);
	act(&s, "login", "ada");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 0);
	fill(&s, 20000, true);
	act(&s, "login", "ben");
	look(&s);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "ben", false), 1);
	fill(&s, 10, false);
	act(&s, "login", "cem");
	look(&s);
	assert_int_equal(told(&s, "cem", false), 1);
	end(&s);
}

static const char story[] =
    "2026-11-23T12:00:00.000Z x login @ann:example.org\n"
    "2026-11-23T12:00:00.010Z x made @mallory:example.org called x\n"
    "2026-11-23T12:00:00.010Z x ready @mallory:example.org\n"
    "2026-11-23T12:00:00.010Z x login @victim:example.org\n"
    "2026-11-23T12:00:00.020Z x ready @mallory:example.org\n"
    "2026-11-23T12:00:00.030Z x login @ada:example.org\n"
    "2026-11-23T12:00:00.040Z x made @ben:example.org called x\n"
    "2026-11-23T12:00:00.050Z x ready @ben:example.org\n"
    "2026-11-23T12:00:20.000Z x login @ben:example.org\n";

static void
read_story(struct scene *s, size_t from, size_t to, bool again)
{
	const struct teller_chunk c = {
	    .file = 7,
	    .offset = from,
	    .data = story + from,
	    .len = to - from,
	    .again = again,
	    .fallback_ms = NOON + MINUTE,
	};

	if (to > from)
		teller_chunk(s->log, &c, s->arena, &s->events, NULL);
}

static void
add_events(struct buf *to, const struct scene *s)
{
	const struct account_event *ev;

	for (ev = s->events.first; ev != NULL; ev = ev->next)
		buf_addf(to, "%d %s %s\n", (int)ev->offset, ev->type, ev->content);
}

/* Stopped anywhere, and begun again where it was needed: each event once, in order. */
static void
a_restart_keeps_what_is_pending(void **state)
{
	struct buf want = {0}, got = {0};
	struct scene first, second;
	uint64_t file, offset;
	const char *newline;
	size_t stop = 0;

	(void)state;
	begin_with(&first, lines);
	read_story(&first, 0, strlen(story), false);
	teller_log_idle(first.log, INT64_MAX, first.arena, &first.events);
	add_events(&want, &first);
	assert_int_equal(told(&first, "example.org", false), 3);
	end(&first);
	while ((newline = strchr(story + stop, '\n')) != NULL) {
		stop = (size_t)(newline + 1 - story);
		begin_with(&first, lines);
		read_story(&first, 0, stop, false);
		begin_with(&second, lines);
		if (!teller_log_needs(first.log, &file, &offset))
			offset = stop;
		read_story(&second, offset, stop, true);
		read_story(&second, stop, strlen(story), false);
		teller_log_idle(second.log, INT64_MAX, second.arena, &second.events);
		buf_reset(&got);
		add_events(&got, &first);
		add_events(&got, &second);
		assert_string_equal(got.p, want.p);
		end(&first);
		end(&second);
	}
	buf_free(&want);
	buf_free(&got);
}

/* Nothing is written after a restart: what is pending waits as long again. */
static void
a_restart_waits_anew(void **state)
{
	struct scene s;

	(void)state;
	begin_with(&s, lines);
	read_story(&s, 0, strlen(story), true);
	teller_log_idle(s.log, NOON + MINUTE, s.arena, &s.events);
	assert_int_equal(s.events.count, 0);
	teller_log_idle(s.log, NOON + MINUTE + 9000, s.arena, &s.events);
	assert_int_equal(s.events.count, 0);
	teller_log_idle(s.log, NOON + MINUTE + 10000, s.arena, &s.events);
	assert_int_equal(told(&s, "ada", false), 1);
	assert_int_equal(told(&s, "ben", false), 1);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_guess_is_held),
	    cmocka_unit_test(many_tries_do_not_hit),
	    cmocka_unit_test(tries_outlive_a_second_carrier),
	    cmocka_unit_test(a_held_line_waits_for_its_own_request),
	    cmocka_unit_test(a_betrayed_zone_gives_nothing),
	    cmocka_unit_test(length_alone_ends_no_zone),
	    cmocka_unit_test(requests_end_the_zone_of_other_work),
	    cmocka_unit_test(a_zone_grows_old),
	    cmocka_unit_test(what_is_to_come_was_not_written),
	    cmocka_unit_test(a_request_ends_at_any_time),
	    cmocka_unit_test(a_clock_is_set_back_while_a_log_is_followed),
	    cmocka_unit_test(a_clock_was_set_back),
	    cmocka_unit_test(what_has_been_is_not_written_again),
	    cmocka_unit_test(a_text_that_goes_back_does_not_hit),
	    cmocka_unit_test(a_text_that_goes_back_again_and_again),
	    cmocka_unit_test(tries_without_an_end),
	    cmocka_unit_test(a_zone_grows_old_by_a_clock_that_is_set),
	    cmocka_unit_test(every_line_tells_the_hour),
	    cmocka_unit_test(no_line_is_of_an_hour_to_come),
	    cmocka_unit_test(a_text_sets_no_clock),
	    cmocka_unit_test(neighbours_are_told),
	    cmocka_unit_test(length_ends_a_bounded_zone),
	    cmocka_unit_test(a_bound_counts_characters),
	    cmocka_unit_test(a_bound_within_a_zone_is_no_bound),
	    cmocka_unit_test(an_escaped_copy_clears),
	    cmocka_unit_test(an_escaped_copy_measures),
	    cmocka_unit_test(a_forged_copy_clears_nothing),
	    cmocka_unit_test(what_follows_the_sequel_is_told),
	    cmocka_unit_test(a_second_sequel_betrays_the_first),
	    cmocka_unit_test(a_time_that_has_been_betrays),
	    cmocka_unit_test(another_s_sequel_is_none),
	    cmocka_unit_test(two_texts_side_by_side),
	    cmocka_unit_test(a_text_while_another_is_pending),
	    cmocka_unit_test(a_text_in_two_parts),
	    cmocka_unit_test(length_ends_what_is_pending),
	    cmocka_unit_test(a_start_may_be_of_the_text),
	    cmocka_unit_test(the_rest_of_a_line_betrays),
	    cmocka_unit_test(lines_of_no_record_betray),
	    cmocka_unit_test(what_nothing_betrays_is_told),
	    cmocka_unit_test(a_restart_keeps_what_is_pending),
	    cmocka_unit_test(a_restart_waits_anew),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
