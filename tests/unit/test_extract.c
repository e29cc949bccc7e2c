#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "decode/record.h"
#include "extract/account_event.h"
#include "extract/extract.h"
#include "match/match.h"
#include "pack/pack.h"
#include "pack_text.h"

#define TIMEOUT_MS 1000
#define MAX_MEMORIES 3
#define LINE_BYTES 100 /* from one line's offset to the next */
#define FILE_KEY 7

#define A "@a:example.org"
#define B "@b:example.org"

#define RULES                                                                                \
	"{ name = \"start\"; match = \"server started\"; resets = true; },"                  \
	"{ name = \"enter\"; match = \"enter %{user_id:user} on %{device_id:device}\";"      \
	"  remember = true; },"                                                              \
	"{ name = \"step\"; match = \"step %{word:step}\"; with = \"enter\";"                \
	"  remember = true; },"                                                              \
	"{ name = \"drop\"; match = \"drop %{py_list:devices} of %{user_id:user}\";"         \
	"  remember = true; },"                                                              \
	"{ name = \"nonce\"; match = \"nonce %{word:nonce} of %{user_id:user}\";"            \
	"  remember = true; key = \"nonce\"; },"                                             \
	"{ name = \"login\"; match = \"done login\"; with = \"enter\"; once = true;"         \
	"  emit = { type = \"login\"; user_id = \"$user\"; device_id = \"$device\"; }; },"   \
	"{ name = \"logins\"; match = \"done logins\"; with = \"enter\";"                    \
	"  emit = { type = \"login\"; user_id = \"$user\"; device_id = \"$device\"; }; },"   \
	"{ name = \"logout\"; match = \"done logout\"; with = \"drop\";"                     \
	"  emit = { type = \"logout\"; each = \"devices\"; user_id = \"$user\";"             \
	"  device_id = \"$devices\"; soft_logout = false; why = \"asked\"; }; },"            \
	"{ name = \"both\"; match = \"done both\"; with = [\"drop\", \"enter\"];"            \
	"  emit = { type = \"both\"; user_id = \"$user\"; device_id = \"$device\"; }; },"    \
	"{ name = \"alone\"; match = \"done alone by %{user_id:user}\"; without = \"drop\";" \
	"  contextless = true; emit = { type = \"alone\"; user_id = \"$user\"; }; },"        \
	"{ name = \"strict\"; match = \"done strict by %{user_id:user}\";"                   \
	"  without = \"drop\"; emit = { type = \"strict\"; user_id = \"$user\"; }; },"       \
	"{ name = \"chain\"; match = \"done chain\"; with = \"step\";"                       \
	"  emit = { type = \"chain\"; user_id = \"$user\"; step = \"$step\"; }; },"          \
	"{ name = \"nobody\"; match = \"done nobody(?: %{user_id:user})?\";"                 \
	"  emit = { type = \"nobody\"; user_id = \"$user\"; }; },"                           \
	"{ name = \"known\"; match = \"done nonce %{word:nonce}\"; with = \"nonce\";"        \
	"  emit = { type = \"known\"; user_id = \"$user\"; }; },"                            \
	"{ name = \"spent\"; match = \"done spending %{word:nonce}\"; with = \"nonce\";"     \
	"  spends = true; emit = { type = \"spent\"; user_id = \"$user\"; }; },"             \
	"{ name = \"left\"; match = \"left %{py_list:devices} of %{user_id:user}\";"         \
	"  emit = { type = \"left\"; unless_told = true; each = \"devices\";"                \
	"  user_id = \"$user\"; device_id = \"$devices\"; }; },"                             \
	"{ name = \"back\"; match = \"somebody is back\"; renews = \"left\"; },"             \
	"{ name = \"over\"; match = \"done .*\"; ends = true; }"

struct trial {
	struct pack *pack;
	struct matcher *matcher;
	struct extract *extract;
	struct extract_log *log, *other;
	struct arena *arena;
	struct account_events events;
	struct buf trace;
	uint64_t offset;
	int64_t now;
};

static int
set_up(void **state)
{
	const struct extract_limits limits = {TIMEOUT_MS, MAX_MEMORIES};
	struct trial *t = xcalloc(1, sizeof(*t));

	t->pack = pack_of_rules(RULES);
	t->matcher = matcher_new(t->pack, "example.org");
	t->extract = extract_new(&limits);
	t->log = extract_log_new(t->extract, t->pack);
	t->other = extract_log_new(t->extract, t->pack);
	t->arena = arena_new();
	t->events.last = &t->events.first;
	t->now = 1000000;
	*state = t;
	return 0;
}

static int
tear_down(void **state)
{
	struct trial *t = *state;

	extract_free(t->extract);
	extract_free(NULL);
	matcher_free(t->matcher);
	pack_free(t->pack);
	arena_free(t->arena);
	buf_free(&t->trace);
	free(t);
	return 0;
}

static void
see(void *arg, const struct match *m, enum extract_outcome outcome, const char *name,
    unsigned count)
{
	static const char *const words[] = {
	    [OUTCOME_REMEMBERED] = "remembered",
	    [OUTCOME_TOLD] = "told",
	    [OUTCOME_KNOWN] = "known",
	    [OUTCOME_RENEWED] = "renewed",
	    [OUTCOME_NOTHING] = "nothing",
	    [OUTCOME_NO_CONTEXT] = "no-context",
	    [OUTCOME_WITHOUT] = "lacks",
	    [OUTCOME_WITH] = "has",
	    [OUTCOME_NO_VALUE] = "no-value",
	    [OUTCOME_ENDED] = "ended",
	    [OUTCOME_RESET] = "reset",
	};
	struct trial *t = arg;

	buf_addf(&t->trace, "%s:%s", m->rule->name, words[outcome]);
	if (name != NULL)
		buf_addf(&t->trace, "(%s)", name);
	if (outcome == OUTCOME_TOLD || outcome == OUTCOME_ENDED)
		buf_addf(&t->trace, "(%u)", count);
	buf_addc(&t->trace, ' ');
}

/* A line of log; context may be NULL. */
static void
line_of(
    struct trial *t, struct extract_log *log, const char *context, const char *message)
{
	struct record r = {.format = &t->pack->formats[0], .ts = t->now};
	struct extract_line line = {.file = FILE_KEY, .offset = t->offset, .record = &r};
	struct match *matches = NULL;

	if (context != NULL)
		r.part[PART_CONTEXT] = slice_of(context);
	r.part[PART_MESSAGE] = slice_of(message);
	line.match_count = matcher_record(t->matcher, &r, t->arena, &matches);
	line.matches = matches;
	assert_true(line.match_count > 0);
	extract_line(log, &line, t->arena, &t->events, see, t);
	t->offset += LINE_BYTES;
}

static void
line(struct trial *t, const char *context, const char *message)
{
	line_of(t, t->log, context, message);
}

/* The events since the last call, as type and content, each ended by a newline. */
static void
tells(struct trial *t, const char *want)
{
	const struct account_event *ev;
	struct buf got = {0};

	buf_reserve(&got, 1);
	for (ev = t->events.first; ev != NULL; ev = ev->next)
		buf_addf(&got, "%s %s\n", ev->type, ev->content);
	if (strcmp(got.p, want) != 0)
		fail_msg("told:\n%snot:\n%s", got.p, want);
	buf_free(&got);
	t->events = (struct account_events){.last = &t->events.first};
}

/* What became of the rules since the last call. */
static void
traces(struct trial *t, const char *want)
{
	if (t->trace.p == NULL || strcmp(t->trace.p, want) != 0)
		fail_msg("trace:\n%s\nnot:\n%s", t->trace.p, want);
	buf_reset(&t->trace);
}

static void
needs(struct trial *t, int64_t want)
{
	uint64_t file = 0, offset = 0;
	bool needed = extract_needs(t->log, &file, &offset);

	assert_int_equal(needed, want >= 0);
	if (want >= 0) {
		assert_int_equal(file, FILE_KEY);
		assert_int_equal(offset, want);
	}
}

#define LOGIN(user, device)                                                              \
	"login {\"user_id\":\"" user "\",\"device_id\":\"" device "\"}\n"
#define LOGOUT(user, device)                                                             \
	"logout {\"user_id\":\"" user "\",\"device_id\":\"" device                       \
	"\",\"soft_logout\":false,\"why\":\"asked\"}\n"

/* ---- with, once, each ------------------------------------------------------- */

static void
requests_do_not_mix(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R2", "enter " B " on D2");
	line(t, "R1", "done login");
	tells(t, LOGIN(A, "D1"));
	line(t, "R2", "done login");
	tells(t, LOGIN(B, "D2"));
	traces(t,
	    "enter:remembered enter:remembered login:told(1) over:ended(1) "
	    "login:told(1) over:ended(1) ");
}

static void
logs_have_contexts_of_their_own(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line_of(t, t->other, "R1", "done login");
	tells(t, "");
	traces(t, "enter:remembered login:lacks(enter) over:ended(0) ");
	line(t, "R1", "done login");
	tells(t, LOGIN(A, "D1"));
}

static void
an_event_knows_its_place(void **state)
{
	struct trial *t = *state;
	const struct account_event *ev;

	line(t, "R1", "drop ['D1', 'D2'] of " A);
	t->now += 5;
	line(t, "R1", "done logout");
	ev = t->events.first;
	assert_int_equal(t->events.count, 2);
	assert_int_equal(ev->file, FILE_KEY);
	assert_int_equal(ev->offset, LINE_BYTES);
	assert_string_equal(ev->rule, "trial/logout");
	assert_int_equal(ev->ordinal, 0);
	assert_int_equal(ev->next->ordinal, 1);
	assert_int_equal(ev->ts, t->now);
	assert_string_equal(ev->user_id, A);
	assert_string_equal(account_event_line(ev, false, t->arena),
	    "{\"type\":\"logout\",\"content\":{\"user_id\":\"" A
	    "\",\"device_id\":\"D1\","
	    "\"soft_logout\":false,\"why\":\"asked\"},\"ts\":1000005}");
	assert_non_null(strstr(account_event_line(ev, true, t->arena),
	    "\"why\":\"asked\",\"org.hearsay.source\":{\"rule\":\"trial/logout\"}}"));
}

static void
a_list_tells_one_event_for_each(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "drop ['D1', 'a \"b\"', ''] of " A);
	line(t, "R1", "done logout");
	tells(t, LOGOUT(A, "D1") LOGOUT(A, "a \\\"b\\\"") LOGOUT(A, ""));
	line(t, "R2", "drop [] of " A);
	line(t, "R2", "done logout");
	tells(t, "");
	traces(t,
	    "drop:remembered logout:told(3) over:ended(1) "
	    "drop:remembered logout:nothing over:ended(1) ");
}

static void
a_rule_follows_once_for_each_memory_or_once(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R1", "enter " B " on D2");
	line(t, "R1", "done login");
	tells(t, LOGIN(A, "D1"));
	line(t, "R1", "enter " A " on D1");
	line(t, "R1", "enter " B " on D2");
	line(t, "R1", "done logins");
	tells(t, LOGIN(A, "D1") LOGIN(B, "D2"));
}

static void
earlier_withs_hide_later_ones(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R1", "enter " A " on D2");
	line(t, "R1", "drop [] of " B);
	line(t, "R1", "done both");
	tells(t,
	    "both {\"user_id\":\"" B "\",\"device_id\":\"D1\"}\n"
	    "both {\"user_id\":\"" B "\",\"device_id\":\"D2\"}\n");
	line(t, "R1", "enter " A " on D1");
	buf_reset(&t->trace);
	line(t, "R1", "done both");
	tells(t, "");
	traces(t, "both:lacks(drop) over:ended(1) ");
}

static void
a_memory_holds_what_it_took_up(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "step lost");
	line(t, "R1", "enter " A " on D1");
	line(t, "R1", "step one");
	line(t, "R1", "done chain");
	tells(t, "chain {\"user_id\":\"" A "\",\"step\":\"one\"}\n");
	traces(t,
	    "step:lacks(enter) enter:remembered step:remembered chain:told(1) "
	    "over:ended(2) ");
}

/* ---- without, contextless ------------------------------------------------------ */

static void
without_asks_for_the_absent(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "drop ['D1'] of " A);
	line(t, "R1", "done strict by " A);
	line(t, "R2", "done strict by " A);
	tells(t, "strict {\"user_id\":\"" A "\"}\n");
	traces(t,
	    "drop:remembered strict:has(drop) over:ended(1) strict:told(1) "
	    "over:ended(0) ");
}

static void
without_a_context_nobody_can_know(void **state)
{
	struct trial *t = *state;

	line(t, NULL, "done strict by " A);
	tells(t, "");
	line(t, NULL, "done alone by " A);
	tells(t, "alone {\"user_id\":\"" A "\"}\n");
	line(t, NULL, "enter " A " on D1");
	line(t, NULL, "done login");
	line(t, "", "done login");
	tells(t, "");
	traces(t,
	    "strict:no-context(drop) alone:told(1) enter:no-context "
	    "login:no-context(enter) login:no-context(enter) ");
}

static void
an_event_without_its_user_is_none(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "done nobody");
	tells(t, "");
	line(t, "R1", "done nobody " A);
	tells(t, "nobody {\"user_id\":\"" A "\"}\n");
	traces(t, "nobody:no-value(user) over:ended(0) nobody:told(1) over:ended(0) ");
}

/* ---- ends, resets ----------------------------------------------------------------- */

static void
a_number_used_again_is_another_request(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R1", "done failed");
	line(t, "R1", "done login");
	tells(t, "");
	line(t, "R1", "enter " B " on D2");
	line(t, "R1", "done login");
	tells(t, LOGIN(B, "D2"));
}

static void
a_new_start_forgets_the_log_and_no_other(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R2", "nonce n1 of " A);
	line_of(t, t->other, "R1", "enter " B " on D2");
	line(t, NULL, "server started");
	needs(t, -1);
	buf_reset(&t->trace);
	line(t, "R1", "done login");
	line(t, "R2", "done nonce n1");
	tells(t, "");
	traces(t, "login:lacks(enter) over:ended(0) known:lacks(nonce) over:ended(0) ");
	line_of(t, t->other, "R1", "done login");
	tells(t, LOGIN(B, "D2"));
}

/* ---- key, spends ------------------------------------------------------------------ */

static void
a_key_is_shared_by_the_logs_and_outlives_the_request(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "nonce n1 of " A);
	line(t, "R2", "nonce n2 of " B);
	line(t, "R1", "done failed");
	line_of(t, t->other, "R9", "done nonce n1");
	tells(t, "known {\"user_id\":\"" A "\"}\n");
	/* Neither a context of that name nor another value is the same. */
	line_of(t, t->other, "n2", "done nonce n3");
	tells(t, "");
	/* No context is needed. */
	line_of(t, t->other, NULL, "done nonce n2");
	tells(t, "known {\"user_id\":\"" B "\"}\n");
}

static void
what_is_spent_is_gone(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "nonce n1 of " A);
	line_of(t, t->other, "R9", "done spending n1");
	tells(t, "spent {\"user_id\":\"" A "\"}\n");
	needs(t, -1);
	line_of(t, t->other, "R9", "done spending n1");
	tells(t, "");
}

/* ---- age and number ----------------------------------------------------------------- */

static struct extract_stats
stats(const struct trial *t)
{
	struct extract_stats st;

	extract_log_stats(t->log, &st);
	return st;
}

static void
memories_are_forgotten_by_the_clock_of_the_log(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R2", "enter " B " on D2");
	t->now += TIMEOUT_MS;
	line(t, "R1", "done login");
	tells(t, LOGIN(A, "D1"));
	t->now += 1;
	/* Another log's clock moves nothing here. */
	line_of(t, t->other, "R8", "done login");
	assert_int_equal(stats(t).timed_out, 0);
	line(t, "R2", "done login");
	tells(t, "");
	assert_int_equal(stats(t).timed_out, 1);
	needs(t, -1);
}

static void
what_logs_share_waits_for_the_slowest(void **state)
{
	struct trial *t = *state;

	line_of(t, t->other, "R1", "done anything");
	line(t, "R1", "nonce n1 of " A);
	t->now += TIMEOUT_MS + 1;
	line(t, "R2", "done anything");
	assert_int_equal(stats(t).timed_out, 0);
	extract_log_clock(t->other, t->now);
	line(t, "R2", "done anything");
	assert_int_equal(stats(t).timed_out, 1);
	/* A clock is never set back. */
	line(t, "R1", "nonce n2 of " A);
	t->now += TIMEOUT_MS + 1;
	extract_log_clock(t->other, t->now);
	extract_log_clock(t->other, 0);
	line(t, "R2", "done anything");
	assert_int_equal(stats(t).timed_out, 2);
}

static void
of_too_many_the_oldest_goes_first(void **state)
{
	struct trial *t = *state;
	const char *names[] = {"R1", "R2", "R3", "R4"};
	size_t i;

	for (i = 0; i < 4; i++)
		line(t, names[i], "enter " A " on D");
	line(t, "R2", "done login");
	tells(t, LOGIN(A, "D"));
	assert_int_equal(stats(t).crowded, 1);
	line(t, "R1", "done login");
	tells(t, "");
	line(t, "R4", "done login");
	tells(t, LOGIN(A, "D"));
	assert_int_equal(stats(t).crowded, 1);
}

/* ---- needs ---------------------------------------------------------------------- */

static void
the_oldest_line_of_an_open_request_is_needed(void **state)
{
	struct trial *t = *state;

	needs(t, -1);
	line(t, "R1", "enter " A " on D1");
	needs(t, 0);
	line(t, "R2", "enter " B " on D2");
	needs(t, 0);
	line(t, "R1", "done login");
	needs(t, LINE_BYTES);
	line(t, "R2", "done login");
	needs(t, -1);
}

static void
a_memory_needs_what_it_took_up(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "nonce n1 of " A);
	line(t, "R2", "enter " A " on D1");
	line(t, "R3", "enter " A " on D2");
	line(t, "R2", "step one");
	/* Only the cap takes the first two; the step still needs the line of the second. */
	line(t, "R3", "done anything");
	line(t, "R4", "enter " A " on D3");
	line(t, "R5", "enter " A " on D4");
	line(t, "R6", "done anything");
	assert_int_equal(stats(t).crowded, 2);
	needs(t, LINE_BYTES);
	line(t, "R2", "done chain");
	tells(t, "chain {\"user_id\":\"" A "\",\"step\":\"one\"}\n");
	needs(t, 5 * LINE_BYTES);
}

/* ---- torn ------------------------------------------------------------------------------- */

static void
a_torn_line_loses_its_open_end(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R2", "enter " B " on half of it");
	extract_torn(t->log);
	assert_int_equal(stats(t).torn, 1);
	line(t, "R2", "done login");
	tells(t, "login {\"user_id\":\"" B "\"}\n");
	/* The line before it is whole. */
	line(t, "R1", "done login");
	tells(t, LOGIN(A, "D1"));
}

static void
what_ends_before_the_line_does_is_not_torn(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "drop ['D1'] of " A);
	extract_torn(t->log);
	line(t, "R1", "done logout");
	tells(t, LOGOUT(A, "D1"));
	assert_int_equal(stats(t).torn, 0);
	extract_torn(t->log);
	assert_int_equal(stats(t).torn, 0);
}

static void
what_was_taken_up_is_not_torn(void **state)
{
	struct trial *t = *state;

	line(t, "R1", "enter " A " on D1");
	line(t, "R1", "step one");
	extract_torn(t->log);
	assert_int_equal(stats(t).torn, 0);
}

/* ---- unless_told, renews ---------------------------------------------------- */

#define LEFT(user, device)                                                               \
	"left {\"user_id\":\"" user "\",\"device_id\":\"" device "\"}\n"

static void
what_was_told_is_not_told_again(void **state)
{
	struct trial *t = *state;

	line(t, NULL, "left ['D1', 'D2'] of " A);
	line_of(t, t->other, NULL, "left ['D2', 'D3'] of " A);
	line(t, NULL, "left ['D1'] of " B);
	tells(t, LEFT(A, "D1") LEFT(A, "D2") LEFT(A, "D3") LEFT(B, "D1"));
	traces(t, "left:told(2) left:known left:told(1) left:told(1) ");
}

static void
a_known_event_has_its_ordinal(void **state)
{
	struct trial *t = *state;

	line(t, NULL, "left ['D1'] of " A);
	t->events = (struct account_events){.last = &t->events.first};
	line(t, NULL, "left ['D1', 'D2'] of " A);
	assert_int_equal(t->events.count, 1);
	assert_int_equal(t->events.first->ordinal, 1);
}

static void
a_while_later_it_is_told_again(void **state)
{
	struct trial *t = *state;

	line(t, NULL, "left ['D1'] of " A);
	t->now += TIMEOUT_MS;
	line(t, NULL, "left ['D1'] of " A);
	tells(t, LEFT(A, "D1"));
	t->now += 1;
	line(t, NULL, "left ['D1'] of " A);
	tells(t, LEFT(A, "D1"));
	/* Another log may lag behind. */
	t->now -= TIMEOUT_MS;
	line_of(t, t->other, NULL, "left ['D1'] of " A);
	tells(t, "");
}

static void
what_is_renewed_is_told_again(void **state)
{
	struct trial *t = *state;

	line(t, NULL, "left ['D1'] of " A);
	line_of(t, t->other, NULL, "somebody is back");
	line(t, NULL, "left ['D1'] of " A);
	tells(t, LEFT(A, "D1") LEFT(A, "D1"));
	traces(t, "left:told(1) back:renewed(left) left:told(1) ");
}

static void
only_so_many_are_known(void **state)
{
	struct trial *t = *state;

	line(t, NULL, "left ['D1', 'D2', 'D3', 'D4'] of " A);
	t->events = (struct account_events){.last = &t->events.first};
	line(t, NULL, "left ['D2'] of " A);
	tells(t, "");
	line(t, NULL, "left ['D1'] of " A);
	tells(t, LEFT(A, "D1"));
}

int
main(void)
{
#define TRIAL(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TRIAL(requests_do_not_mix),
	    TRIAL(logs_have_contexts_of_their_own),
	    TRIAL(an_event_knows_its_place),
	    TRIAL(a_list_tells_one_event_for_each),
	    TRIAL(a_rule_follows_once_for_each_memory_or_once),
	    TRIAL(earlier_withs_hide_later_ones),
	    TRIAL(a_memory_holds_what_it_took_up),
	    TRIAL(without_asks_for_the_absent),
	    TRIAL(without_a_context_nobody_can_know),
	    TRIAL(an_event_without_its_user_is_none),
	    TRIAL(a_number_used_again_is_another_request),
	    TRIAL(a_new_start_forgets_the_log_and_no_other),
	    TRIAL(a_key_is_shared_by_the_logs_and_outlives_the_request),
	    TRIAL(what_is_spent_is_gone),
	    TRIAL(memories_are_forgotten_by_the_clock_of_the_log),
	    TRIAL(what_logs_share_waits_for_the_slowest),
	    TRIAL(of_too_many_the_oldest_goes_first),
	    TRIAL(the_oldest_line_of_an_open_request_is_needed),
	    TRIAL(a_memory_needs_what_it_took_up),
	    TRIAL(a_torn_line_loses_its_open_end),
	    TRIAL(what_ends_before_the_line_does_is_not_torn),
	    TRIAL(what_was_taken_up_is_not_torn),
	    TRIAL(what_was_told_is_not_told_again),
	    TRIAL(a_known_event_has_its_ordinal),
	    TRIAL(a_while_later_it_is_told_again),
	    TRIAL(what_is_renewed_is_told_again),
	    TRIAL(only_so_many_are_known),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
