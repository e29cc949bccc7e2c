#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "pack/pack.h"
#include "pack_text.h"

/* ---- patterns ------------------------------------------------------------- */

static struct pattern *
compiled(const char *text)
{
	char name[3][8] = {"who", "nested", "word"};
	char text_of[3][16] = {"%{user_id:user}", "<%{who}>", "[a-z]+"};
	char *const names[] = {name[0], name[1], name[2]};
	char *const texts[] = {text_of[0], text_of[1], text_of[2]};
	struct err e = {0};
	struct pattern *p = pattern_compile(text, names, texts, 3, &e);

	if (p == NULL)
		fail_msg("%s: %s", text, e.text);
	return p;
}

static bool
fits(const char *pattern, const char *text)
{
	struct pattern *p = compiled(pattern);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->code, NULL);
	int n = pcre2_match(p->code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, NULL);

	pcre2_match_data_free(data);
	pattern_free(p);
	return n > 0;
}

static void
patterns_are_anchored_at_both_ends(void **state)
{
	(void)state;
	assert_true(fits("abcd", "abcd"));
	assert_false(fits("abcd", "xabcd"));
	assert_false(fits("abcd", "abcdx"));
	assert_false(fits("abcd$", "abcd\n"));
	assert_false(fits("abcd$.", "abcd\n"));
	assert_false(fits("abcd|efgh", "abcdx"));
	/* The shortest match is not good enough where a longer one is whole. */
	assert_true(fits("ab|abcd", "abcd"));
	assert_true(fits("a.d", "a\nd"));
	assert_true(fits("a.d",
	    "a\xff"
	    "d"));
}

static void
captures_have_types_and_groups(void **state)
{
	struct pattern *p =
	    compiled("(x)? %{user_id:u} (?<plain>.*) %{nested} %{word:w}");
	size_t i;

	(void)state;
	assert_int_equal(p->capture_count, 4);
	for (i = 0; i < p->capture_count; i++) {
		const struct pattern_capture *c = &p->captures[i];

		if (strcmp(c->name, "u") == 0) {
			assert_int_equal(c->type, CAPTURE_USER_ID);
			assert_int_equal(c->group, 2);
		} else if (strcmp(c->name, "plain") == 0) {
			assert_int_equal(c->type, CAPTURE_TEXT);
			assert_int_equal(c->group, 3);
		} else if (strcmp(c->name, "user") == 0) {
			assert_int_equal(c->type, CAPTURE_USER_ID);
			assert_int_equal(c->group, 4);
		} else {
			assert_string_equal(c->name, "w");
		}
	}
	pattern_free(p);
}

static void
macros_of_the_pack_come_first(void **state)
{
	(void)state;
	assert_true(fits("x %{word} y", "x ab y"));
	/* The built-in word would take it. */
	assert_false(fits("x %{word} y", "x AB y"));
	/* A macro is one thing, whatever is in it. */
	assert_true(fits("%{number}?z", "z"));
}

static bool
is_loose(const char *text)
{
	struct pattern *p = compiled(text);
	bool loose = p->loose;

	pattern_free(p);
	return loose;
}

static void
a_catch_all_before_a_user_is_seen(void **state)
{
	(void)state;
	assert_true(is_loose("from .* by %{user_id:u}"));
	assert_true(is_loose("from .{0,99} by %{localpart:u}"));
	assert_true(is_loose(".+%{who}"));
	assert_false(is_loose("by %{user_id:u} from .*"));
	assert_false(is_loose("from [.*] by %{user_id:u}"));
	assert_false(is_loose("from \\.* by %{user_id:u}"));
	assert_false(is_loose("from [^ ]* by %{user_id:u}"));
	assert_false(is_loose("from .* by %{word:u}"));
	/* In a macro, in a group, in the user's own pattern, or by another name. */
	assert_true(is_loose("on %{device_id:d} by %{user_id:u}"));
	assert_true(is_loose("(?:from.)*by %{user_id:u}"));
	assert_true(is_loose("(?<any>(?:.|x)+) by %{user_id:u}"));
	assert_true(is_loose("[\\s\\S]* by %{user_id:u}"));
	assert_true(is_loose("[^\\n]+ by %{user_id:u}"));
	assert_true(is_loose("\\N{2,} by %{user_id_uri:u}"));
	assert_true(is_loose("by %{user_id:u} from .* by %{user_id:v}"));
	assert_false(is_loose(". by %{user_id:u}"));
	assert_false(is_loose("%{py_list:l} and %{go_list:m} by %{user_id:u}"));
	assert_false(is_loose("\"%{device_id_quoted:d}\" by %{user_id:u}"));
	assert_false(is_loose("(?=.* by )(?!.*x)by %{user_id:u}"));
	assert_false(is_loose("\"(?:[^\"\\\\]++|\\\\.)*+\" by %{user_id:u}"));
}

static void
an_empty_pattern_has_no_literal(void **state)
{
	struct pattern *p = compiled("");

	(void)state;
	assert_null(p->literal);
	pattern_free(p);
	pattern_free(NULL);
}

static void
bad_patterns_say_why(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
	    {"%{user_id", "without its \"}\""},
	    {"%{nobody}", "there is no macro %{nobody}"},
	    {"%{}", "there is no macro %{}"},
	    {"%{user_id:}", "name"},
	    {"%{user_id:a b}", "name"},
	    {"%{user_id:a}%{user_id:a}", "two named"},
	    {"ab(cd", "parenthesis"},
	    {"ab)cd", "at \")cd\""},
	    {"%{round}", "in a circle"},
	    {"%{wide}", "longer than"},
	};
	char name[4][8] = {"round", "about", "wide", "broad"};
	char text_of[3][48] = {
	    "%{about}", "%{round}", "%{broad}%{broad}%{broad}%{broad}"};
	char *const names[] = {name[0], name[1], name[2], name[3]};
	char *texts[] = {text_of[0], text_of[1], text_of[2], NULL};
	struct pattern *p;
	struct buf broad = {0};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < 100000; i++)
		buf_addc(&broad, 'x');
	texts[3] = broad.p;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		p = pattern_compile(rows[i].text, names, texts, 4, &e);
		assert_null(p);
		if (strstr(e.text, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].text, e.text);
	}
	buf_free(&broad);
}

/* ---- files ------------------------------------------------------------------ */

static void
a_pack_is_read_whole(void **state)
{
	struct pack *p = pack_of_rules(
	    "{ name = \"first\"; logger = \"a.b*\"; levels = \"INFO\";"
	    " match = \"begin %{user_id:user} %{py_list:list}\";"
	    " remember = true; },"
	    "{ name = \"second\"; levels = [\"INFO\", \"WARN\"];"
	    " fields = ( { name = \"code\"; match = \"2..\"; } );"
	    " match = \"end of it\"; with = [\"first\"]; without = [\"third\"];"
	    " once = true; ends = true; contextless = true;"
	    " emit = { type = \"m.user.logout\"; each = \"list\";"
	    " user_id = \"$user\"; device_id = \"$list\";"
	    " soft_logout = false; word = \"said\"; }; },"
	    "{ name = \"third\"; match = \"third %{user_id:user}\";"
	    " remember = true; key = \"user\"; resets = true; }");
	const struct pack_rule *r = &p->rules[1];

	(void)state;
	assert_string_equal(p->name, "trial");
	assert_int_equal(p->format_count, 1);
	assert_int_equal(p->formats[0].kind, FORMAT_REGEX);
	assert_int_equal(p->formats[0].group[PART_CONTEXT], 1);
	assert_int_equal(p->formats[0].group[PART_MESSAGE], 4);
	assert_int_equal(p->formats[0].group[PART_TIME], 0);
	assert_int_equal(p->rule_count, 3);
	assert_string_equal(p->rules[0].logger, "a.b*");
	assert_int_equal(p->rules[0].level_count, 1);
	assert_true(p->rules[0].remember);
	assert_string_equal(p->rules[0].pattern->literal, "begin @");
	assert_null(p->rules[0].emit);
	assert_int_equal(r->level_count, 2);
	assert_int_equal(r->guard_count, 1);
	assert_string_equal(r->guards[0].field, "code");
	assert_true(r->once && r->ends && r->contextless && !r->resets && !r->remember);
	assert_string_equal(r->emit->each, "list");
	assert_int_equal(r->emit->value_count, 4);
	assert_int_equal(r->emit->values[0].kind, VALUE_CAPTURE);
	assert_string_equal(r->emit->values[0].text, "user");
	assert_int_equal(r->emit->values[2].kind, VALUE_BOOL);
	assert_int_equal(r->emit->values[3].kind, VALUE_STRING);
	assert_string_equal(p->rules[2].key, "user");
	assert_true(p->rules[2].resets);
	assert_ptr_equal(pack_rule_find(p, "third"), &p->rules[2]);
	assert_null(pack_rule_find(p, "fourth"));
	pack_free(p);
	pack_free(NULL);
}

static void
samples_are_read(void **state)
{
	struct err_list errs = {0};
	struct pack *p = pack_of_text(PACK_ABOUT
	    "rules = ( { name = \"r\"; match = \"abcd\"; ends = true; } );\n"
	    "samples = ( { name = \"one\"; rule = \"r\"; lines = [ \"a\", \"b\" ];\n"
	    "  not = ( [ \"a\", \"c\" ],\n [ \"b\", \"\" ] ); hostile = ( [ \"b\", \"d\" ] );\n"
	    "  events = ( { type = \"m.user.login\"; user_id = \"@a:b\"; yes = true; ts = 5L; } ); },\n"
	    "  { name = \"two\"; server = \"x.org\"; lines = \"c\";\n"
	    "  events = ( { type = \"t\"; content = { type = \"u\"; user_id = \"@a:b\"; }; } ); } );\n",
	    &errs);

	(void)state;
	assert_non_null(p);
	assert_int_equal(p->sample_count, 2);
	assert_string_equal(p->samples[0].server, "example.org");
	assert_int_equal(p->samples[0].line_count, 2);
	assert_int_equal(p->samples[0].rule_count, 1);
	assert_string_equal(p->samples[0].rules[0], "r");
	assert_int_equal(p->samples[0].not_count, 2);
	assert_string_equal(p->samples[0].nots[0].from, "a");
	assert_string_equal(p->samples[0].nots[0].to, "c");
	assert_string_equal(p->samples[0].nots[1].to, "");
	assert_int_equal(p->samples[0].nots[1].line, p->samples[0].nots[0].line + 1);
	assert_int_equal(p->samples[0].hostile_count, 1);
	assert_string_equal(p->samples[0].hostile[0].to, "d");
	assert_string_equal(p->samples[0].events[0],
	    "{\"content\":{\"user_id\":\"@a:b\",\"yes\":true},\"type\":\"m.user.login\",\"ts\":5}");
	assert_string_equal(p->samples[1].server, "x.org");
	assert_int_equal(p->samples[1].rule_count, 0);
	assert_int_equal(p->samples[1].event_count, 1);
	assert_string_equal(p->samples[1].events[0],
	    "{\"content\":{\"type\":\"u\",\"user_id\":\"@a:b\"},\"type\":\"t\"}");
	pack_free(p);
}

/* Load text; its mistakes, without the file's name, must be want (ended by NULL). */
static void
mistakes(const char *text, const char *const *want)
{
	struct err_list errs = {0};
	struct pack *p = pack_of_text(text, &errs);
	size_t i;

	assert_null(p);
	for (i = 0; want[i] != NULL && i < errs.count; i++) {
		const char *got = strstr(errs.texts[i], ".conf:");

		if (got == NULL || strstr(got, want[i]) != got + strlen(".conf:"))
			fail_msg("%s: not \"%s\"", errs.texts[i], want[i]);
	}
	if (want[i] != NULL)
		fail_msg("not told: %s", want[i]);
	if (i < errs.count)
		fail_msg("told as well: %s", errs.texts[i]);
	err_list_clear(&errs);
}

static void
all_mistakes_are_told_at_once(void **state)
{
	static const char *const want[] = {"4: there is no setting \"titel\"",
	    "1: \"title\" is missing", "3: \"needs\" must be a string",
	    "7: \"how\" must be exact, partial or no",
	    "9: \"kind\" must be regex, json, logfmt or journal",
	    "10: \"time\" must be none, before, iso, epoch or epoch_ms",
	    "10: the pattern has no group named \"message\"",
	    "11: a json or logfmt format needs \"keys\"",
	    "12: there is no setting \"mesage\"", "12: \"message\" is missing",
	    "13: \"time\" is not none, but nothing is named \"time\"",
	    "15: \"match\" is missing", "16: \"match\": missing closing parenthesis",
	    "17: rule \"short\": no text of at least 4 bytes",
	    "19: an event needs a \"user_id\"",
	    "18: rule \"key\": \"key\" goes with \"remember\"",
	    "20: \"levels\" must hold strings", "20: \"remember\" must be true or false",
	    "21: \"name\" must be of letters",
	    "22: \"device_id\" must be a string or a bool",
	    "24: a sample needs \"lines\"", "25: \"type\" is missing",
	    "24: there is no rule"};
	const char *ended[sizeof(want) / sizeof(want[0]) + 1] = {NULL};

	(void)state;
	memcpy(ended, want, sizeof(want));
	mistakes(
	    "name = \"t\";\n"
	    "versions = \"1\"; tested = \"source\";\n"
	    "needs = 5;\n"
	    "titel = \"T\";\n"
	    "macros = { };\n"
	    "tells = (\n"
	    " { type = \"m.user.login\"; how = \"well\"; } );\n"
	    "formats = (\n"
	    " { name = \"a\"; kind = \"xml\"; time = \"none\"; },\n"
	    " { name = \"b\"; kind = \"regex\"; time = \"noon\"; pattern = \".*\"; },\n"
	    " { name = \"c\"; kind = \"json\"; time = \"none\"; },\n"
	    " { name = \"d\"; kind = \"json\"; time = \"none\"; keys = { mesage = \"m\"; }; },\n"
	    " { name = \"e\"; kind = \"json\"; time = \"iso\"; keys = { message = \"m\"; }; } );\n"
	    "rules = (\n"
	    " { name = \"none\"; },\n"
	    " { name = \"bad\"; match = \"abcd(\"; },\n"
	    " { name = \"short\"; match = \"abc\"; },\n"
	    " { name = \"key\"; match = \"abcd%{user_id:u}\"; key = \"u\";\n"
	    "   emit = { type = \"m\"; }; },\n"
	    " { name = \"bool\"; match = \"abcd\"; remember = \"yes\"; levels = [1]; },\n"
	    " { name = \"a \\\"b\"; match = \"abcd\"; },\n"
	    " { name = \"num\"; match = \"abcd\"; emit = { type = \"m\"; user_id = \"u\"; device_id = 1; }; } );\n"
	    "samples = (\n"
	    " { name = \"s\"; rule = \"nobody\"; events = (\n"
	    "   { user_id = \"u\"; } ); } );\n",
	    ended);
}

static void
rules_must_agree_with_each_other(void **state)
{
	static const char *const want[] = {"4: there are two rules \"one\"",
	    "5: rule \"two\": there is no rule \"nobody\" that remembers",
	    "5: rule \"two\": there is no rule \"two\" that remembers",
	    "5: rule \"two\": there is no rule \"tell\" that remembers",
	    "6: rule \"tell\": nothing captures \"v\"",
	    "7: rule \"each\": nothing captures \"devices\"",
	    "8: rule \"keyed\": nothing captures its key \"w\"",
	    "9: rule \"asks\": \"good\" is remembered by \"u\", which nothing",
	    "11: rule \"again\": no rule tells \"m\" with \"unless_told\"", NULL};

	(void)state;
	mistakes(PACK_ABOUT
	    "rules = ( { name = \"one\"; match = \"abcd %{user_id:u}\"; remember = true; },\n"
	    " { name = \"one\"; match = \"abcd\"; },\n"
	    " { name = \"two\"; match = \"abcd\"; with = [\"nobody\"]; without = [\"two\", \"tell\"]; },\n"
	    " { name = \"tell\"; match = \"abcd\"; with = \"one\"; emit = { type = \"m\"; user_id = \"$u\"; x = \"$v\"; }; },\n"
	    " { name = \"each\"; match = \"abcd %{user_id:u}\"; emit = { type = \"m\"; each = \"devices\"; user_id = \"$u\"; }; },\n"
	    " { name = \"keyed\"; match = \"abcd %{user_id:u}\"; remember = true; key = \"w\"; },\n"
	    " { name = \"asks\"; match = \"abcd\"; with = \"good\"; },\n"
	    " { name = \"good\"; match = \"abcd %{user_id:u}\"; remember = true; key = \"u\"; },\n"
	    " { name = \"again\"; match = \"abcd\"; renews = \"m\"; },\n"
	    " { name = \"once\"; match = \"abcd %{user_id:u}\"; emit = { type = \"o\"; unless_told = true; user_id = \"$u\"; }; },\n"
	    " { name = \"anew\"; match = \"abcd\"; renews = \"o\"; } );\n",
	    want);
}

static void
rules_that_wait_for_each_other_are_mistakes(void **state)
{
	static const char *const want[] = {
	    "3: rule \"a\" asks, by its \"with\", for itself",
	    "4: rule \"b\" asks, by its \"with\", for itself",
	    "5: rule \"c\" asks, by its \"with\", for itself", NULL};

	(void)state;
	mistakes(PACK_ABOUT
	    "rules = ( { name = \"a\"; match = \"abcd\"; remember = true; with = \"b\"; },\n"
	    " { name = \"b\"; match = \"abcd\"; remember = true; with = [\"c\", \"a\"]; },\n"
	    " { name = \"c\"; match = \"abcd\"; remember = true; with = \"a\"; },\n"
	    " { name = \"d\"; match = \"abcd\"; with = \"a\"; emit = { type = \"m\"; user_id = \"$u\"; }; } );\n",
	    want);
}

static void
syntax_errors_name_the_line(void **state)
{
	static const char *const wrong[] = {"2: syntax error", NULL};
	static const char *const lists[] = {"3: \"rules\" must be a list of groups",
	    "1: a pack needs \"rules\"", "4: \"samples\" must hold groups", NULL};
	struct err_list errs = {0};

	(void)state;
	mistakes("name = \"t\";\ntitle = = 5;\n", wrong);
	mistakes(PACK_ABOUT "rules = 5;\nsamples = ( 7 );\n", lists);
	assert_null(pack_load("/nonexistent/pack.conf", &errs));
	assert_int_equal(errs.count, 1);
	assert_string_equal(errs.texts[0],
	    "/nonexistent/pack.conf: cannot be read: No such file or directory");
	err_list_clear(&errs);
}

/* ---- sets --------------------------------------------------------------------- */

struct dirs {
	char *root, *dir[2];
};

static int
make_dirs(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct dirs *d = xcalloc(1, sizeof(*d));

	d->root = xasprintf("%s/packs.XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(d->root) == NULL)
		return -1;
	d->dir[0] = xasprintf("%s/etc", d->root);
	d->dir[1] = xasprintf("%s/share", d->root);
	*state = d;
	return mkdir(d->dir[0], 0700) == -1 || mkdir(d->dir[1], 0700) == -1 ? -1 : 0;
}

static int
remove_dirs(void **state)
{
	struct dirs *d = *state;
	struct dirent *entry;
	unsigned i;

	for (i = 0; i < 2; i++) {
		DIR *dir = opendir(d->dir[i]);

		while (dir != NULL && (entry = readdir(dir)) != NULL)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
		if (dir != NULL)
			(void)closedir(dir);
		(void)rmdir(d->dir[i]);
		free(d->dir[i]);
	}
	(void)rmdir(d->root);
	free(d->root);
	free(d);
	return 0;
}

/* A file in dir that holds a pack called name, its title being the directory's number. */
static void
put_pack(const struct dirs *d, unsigned dir, const char *file, const char *name)
{
	char *path = xasprintf("%s/%s", d->dir[dir], file);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(
	    fprintf(f,
		"name = \"%s\"; title = \"%u\"; versions = \"1\"; needs = \"n\";\n"
		"tested = \"source\"; formats = ( { name = \"f\"; kind = \"json\";\n"
		"time = \"none\"; keys = { message = \"m\"; }; } );\n"
		"rules = ( { name = \"r\"; match = \"abcd\"; ends = true; } );\n",
		name, dir) > 0);
	assert_int_equal(fclose(f), 0);
	free(path);
}

static void
a_file_hides_later_ones_of_its_name(void **state)
{
	struct dirs *d = *state;
	struct err_list errs = {0};
	struct pack_set set;

	put_pack(d, 1, "synapse.conf", "synapse");
	put_pack(d, 1, "dendrite.conf", "dendrite");
	put_pack(d, 1, "notes.conf.bak", "notes");
	put_pack(d, 1, ".hidden.conf", "hidden");
	put_pack(d, 0, "synapse.conf", "synapse");
	put_pack(d, 0, "own.conf", "own");
	assert_int_equal(pack_set_load(&set, d->dir, 2, &errs), 0);
	assert_int_equal(errs.count, 0);
	assert_int_equal(set.count, 3);
	assert_string_equal(set.packs[0]->name, "dendrite");
	assert_string_equal(set.packs[1]->name, "own");
	assert_string_equal(set.packs[2]->name, "synapse");
	assert_string_equal(pack_set_find(&set, "synapse")->title, "0");
	assert_null(pack_set_find(&set, "notes"));
	pack_set_clear(&set);
	assert_int_equal(set.count, 0);
}

static void
one_bad_file_does_not_hide_the_others(void **state)
{
	struct dirs *d = *state;
	struct err_list errs = {0};
	struct pack_set set;

	put_pack(d, 1, "good.conf", "good");
	put_pack(d, 0, "bad.conf", "b a d");
	/* Hidden by its name, though what hides it is broken: no stale pack is used. */
	put_pack(d, 1, "bad.conf", "bad");
	assert_int_equal(pack_set_load(&set, d->dir, 2, &errs), -1);
	assert_int_equal(errs.count, 1);
	assert_non_null(strstr(errs.texts[0], "/etc/bad.conf:1: "));
	assert_int_equal(set.count, 1);
	assert_string_equal(set.packs[0]->name, "good");
	pack_set_clear(&set);
	err_list_clear(&errs);
}

static void
two_packs_of_one_name_are_a_mistake(void **state)
{
	struct dirs *d = *state;
	struct err_list errs = {0};
	struct pack_set set;

	put_pack(d, 0, "a.conf", "same");
	put_pack(d, 1, "b.conf", "same");
	assert_int_equal(pack_set_load(&set, d->dir, 2, &errs), -1);
	assert_int_equal(errs.count, 1);
	assert_non_null(
	    strstr(errs.texts[0], "/share/b.conf: there is a pack \"same\" already"));
	assert_string_equal(pack_set_find(&set, "same")->title, "0");
	pack_set_clear(&set);
	err_list_clear(&errs);
}

static void
no_packs_at_all_are_a_mistake(void **state)
{
	struct dirs *d = *state;
	struct err_list errs = {0};
	struct pack_set set;

	assert_int_equal(pack_set_load(&set, d->dir, 2, &errs), -1);
	assert_int_equal(errs.count, 2);
	pack_set_clear(&set);
	err_list_clear(&errs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(patterns_are_anchored_at_both_ends),
	    cmocka_unit_test(captures_have_types_and_groups),
	    cmocka_unit_test(macros_of_the_pack_come_first),
	    cmocka_unit_test(a_catch_all_before_a_user_is_seen),
	    cmocka_unit_test(an_empty_pattern_has_no_literal),
	    cmocka_unit_test(bad_patterns_say_why),
	    cmocka_unit_test(a_pack_is_read_whole),
	    cmocka_unit_test(samples_are_read),
	    cmocka_unit_test(all_mistakes_are_told_at_once),
	    cmocka_unit_test(rules_must_agree_with_each_other),
	    cmocka_unit_test(rules_that_wait_for_each_other_are_mistakes),
	    cmocka_unit_test(syntax_errors_name_the_line),
	    cmocka_unit_test_setup_teardown(
		a_file_hides_later_ones_of_its_name, make_dirs, remove_dirs),
	    cmocka_unit_test_setup_teardown(
		one_bad_file_does_not_hide_the_others, make_dirs, remove_dirs),
	    cmocka_unit_test_setup_teardown(
		two_packs_of_one_name_are_a_mistake, make_dirs, remove_dirs),
	    cmocka_unit_test_setup_teardown(
		no_packs_at_all_are_a_mistake, make_dirs, remove_dirs),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
