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
#include "config/config.h"
#include "extract/account_event.h"
#include "route/route.h"

#define SERVER "example.org"
#define FILES_MAX 8

/* A folder of its own for each test, with registrations a.yaml, b.yaml… in it. */
struct place {
	char dir[64];
	char *files[FILES_MAX];
	size_t file_count;
	char *patterns[2];
	struct config config;
	struct err_list errs;
	struct route *route;
	struct route_delivery out[FILES_MAX];
};

static int
set_up(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/hearsay-route-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	p->patterns[0] = xasprintf("%s/*.yaml", p->dir);
	p->config.path = xstrdup("hearsay.conf");
	p->config.registrations = p->patterns;
	p->config.registration_count = 1;
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;
	size_t i;

	route_free(p->route);
	err_list_clear(&p->errs);
	for (i = 0; i < p->file_count; i++) {
		(void)unlink(p->files[i]);
		free(p->files[i]);
	}
	(void)rmdir(p->dir);
	free(p->patterns[0]);
	free(p->patterns[1]);
	free(p->config.path);
	free(p);
	return 0;
}

static void
add_bytes(struct place *p, const char *text, size_t len)
{
	char *path = xasprintf("%s/%c.yaml", p->dir, (char)('a' + p->file_count));
	FILE *f = fopen(path, "we");

	assert_true(p->file_count < FILES_MAX);
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0600), 0);
	p->files[p->file_count++] = path;
}

static void
add(struct place *p, const char *text)
{
	add_bytes(p, text, strlen(text));
}

static void
remove_last(struct place *p)
{
	char *path = p->files[--p->file_count];

	assert_int_equal(unlink(path), 0);
	free(path);
}

/* A registration of its own id, tokens and url, with more behind these. */
static void
add_appservice(struct place *p, const char *id, const char *more)
{
	char *text = xasprintf("id: %s\nas_token: as-%s\nhs_token: hs-%s\n"
			       "url: http://127.0.0.1:9000/\n%s",
	    id, id, id, more);

	add(p, text);
	free(text);
}

static void
load(struct place *p)
{
	route_free(p->route);
	p->route = route_load(&p->config, &p->errs);
	assert_non_null(p->route);
}

static void
load_without_mistakes(struct place *p)
{
	load(p);
	if (p->errs.count > 0)
		fail_msg("%s", p->errs.texts[0]);
}

/* Mistake i is of that file and line (0: the file as a whole), and says that. */
static void
assert_mistake(struct place *p, size_t i, size_t file, unsigned line, const char *what)
{
	const char *path = file < p->file_count ? p->files[file] : p->config.path;
	char *at = line == 0 ? xasprintf("%s: ", path) : xasprintf("%s:%u: ", path, line);

	assert_true(i < p->errs.count);
	if (strncmp(p->errs.texts[i], at, strlen(at)) != 0 ||
	    strstr(p->errs.texts[i], what) == NULL)
		fail_msg("\"%s\" is not \"%s…%s…\"", p->errs.texts[i], at, what);
	free(at);
}

static size_t
deliver(struct place *p, const char *type, const char *user_id)
{
	const struct account_event ev = {.type = type, .user_id = user_id};

	return route_event(p->route, SERVER, &ev, p->out);
}

/* The one delivery of an event is under that key and type. */
static void
assert_told(struct place *p, const char *type, const char *user, const char *key,
    const char *sent)
{
	if (deliver(p, type, user) != 1)
		fail_msg("%s of %s has not one delivery", type, user);
	assert_string_equal(p->out[0].key, key);
	assert_string_equal(p->out[0].type, sent);
}

static void
assert_untold(struct place *p, const char *type, const char *user)
{
	if (deliver(p, type, user) != 0)
		fail_msg("%s of %s was delivered as %s", type, user, p->out[0].type);
}

#define LOGIN "m.user.login"
#define LOGOUT "m.user.logout"

/* ---- forms and languages ------------------------------------------------------- */

static const char *const prefixes[] = {
    "m.", "uk.half-shot.msc3395.", "uk.half-shot.mscXXXX."};

/* How a subscription with the prefix before key and types is answered, in both forms. */
static void
check_language(struct place *p, const char *prefix)
{
	char *key = xasprintf("%ssynthetic_events", prefix);
	char *type = xasprintf("%suser.logout", prefix);
	char *final = xasprintf("namespaces:\n  users:\n"
				"    - exclusive: true\n      regex: \"@a\"\n"
				"      %s: {events: [m.user.login, '%s']}\n",
	    key, type);
	char *early = xasprintf("%s:\n  events:\n  - m.user.login\n  - %s\n", key, type);

	add_appservice(p, "final", final);
	load_without_mistakes(p);
	assert_told(p, LOGIN, "@alice:example.org", key, LOGIN);
	assert_told(p, LOGOUT, "@alice:example.org", key, type);
	assert_untold(p, "m.user.registration", "@alice:example.org");
	assert_untold(p, LOGIN, "@bob:example.org");

	remove_last(p);
	add_appservice(p, "early", early);
	load_without_mistakes(p);
	assert_told(p, LOGIN, "@alice:example.org", key, LOGIN);
	assert_told(p, LOGOUT, "@bob:example.org", key, type);

	free(early);
	free(final);
	free(type);
	free(key);
	remove_last(p);
}

static void
every_language(void **state)
{
	struct place *p = *state;
	size_t i;

	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		check_language(p, prefixes[i]);
}

static void
early_form_with_namespaces(void **state)
{
	struct place *p = *state;

	add_appservice(p, "bot",
	    "uk.half-shot.msc3395.synthetic_events: {events: [m.user.login]}\n"
	    "m.events: false\nuk.half-shot.msc3395.events: false\n"
	    "de.sorunome.msc2409.push_ephemeral: true\n"
	    "namespaces: {users: [{regex: '@a.*'}, {regex: '@b.*', exclusive: true}],\n"
	    "  aliases: [], rooms: null}\n");
	load_without_mistakes(p);
	assert_int_equal(deliver(p, LOGIN, "@alice:example.org"), 1);
	assert_int_equal(deliver(p, LOGIN, "@bob:example.org"), 1);
	assert_int_equal(deliver(p, LOGIN, "@carol:example.org"), 0);
}

/* A user of several items: once, in the words of the first that lists the type. */
static void
several_items(void **state)
{
	struct place *p = *state;

	add_appservice(p, "bot",
	    "namespaces:\n  users:\n"
	    "  - {regex: '@a', m.synthetic_events: {events: [m.user.logout]}}\n"
	    "  - {regex: '@.*', uk.half-shot.mscXXXX.synthetic_events:\n"
	    "      {events: [m.user.login, m.user.logout]}}\n"
	    "  - {regex: '@.*', m.synthetic_events: {events: [m.user.login]}}\n"
	    "  - {regex: '@zoe'}\n"
	    "m.synthetic_events: {events: [m.user.registration, m.user.login]}\n");
	load_without_mistakes(p);
	assert_told(p, LOGOUT, "@al:example.org", "m.synthetic_events", LOGOUT);
	assert_told(
	    p, LOGIN, "@al:example.org", "uk.half-shot.mscXXXX.synthetic_events", LOGIN);
	assert_told(p, "m.user.registration", "@zoe:example.org", "m.synthetic_events",
	    "m.user.registration");
}

static void
several_appservices(void **state)
{
	struct place *p = *state;

	add_appservice(p, "one", "m.synthetic_events: {events: [m.user.login]}\n");
	add_appservice(p, "two",
	    "namespaces: {users: [{regex: '.*', exclusive: no}]}\n"
	    "m.synthetic_events: null\n");
	add_appservice(p, "three",
	    "uk.half-shot.msc3395.synthetic_events: {events: [m.user.login]}\n");
	load_without_mistakes(p);
	assert_int_equal(route_count(p->route), 3);
	assert_int_equal(deliver(p, LOGIN, "@a:example.org"), 2);
	assert_ptr_equal(p->out[0].appservice, route_find(p->route, "one"));
	assert_ptr_equal(p->out[1].appservice, route_find(p->route, "three"));
	assert_true(route_find(p->route, "one")->subscribed);
	assert_false(route_find(p->route, "two")->subscribed);
	assert_null(route_find(p->route, "four"));
	assert_string_equal(route_appservice(p->route, 0)->hs_token, "hs-one");
	assert_string_equal(route_appservice(p->route, 0)->url, "http://127.0.0.1:9000");
	assert_string_equal(route_appservice(p->route, 0)->path, p->files[0]);
}

static void
extensions_only_if_listed(void **state)
{
	struct place *p = *state;

	add_appservice(p, "bot",
	    "m.synthetic_events: {events: [m.user.login, "
	    "org.hearsay.user.login_failed]}\n");
	load_without_mistakes(p);
	assert_told(p, "org.hearsay.user.login_failed", "@a:example.org",
	    "m.synthetic_events", "org.hearsay.user.login_failed");
	assert_untold(p, "org.hearsay.user.locked", "@a:example.org");
}

/* ---- whom ---------------------------------------------------------------------- */

static void
anchored_at_the_start_only(void **state)
{
	struct place *p = *state;

	add_appservice(p, "bot",
	    "namespaces: {users: [{regex: 'ali|@bob', m.synthetic_events: "
	    "{events: [m.user.login]}},\n"
	    "  {regex: '@eve:example\\.org$', m.synthetic_events: {events: "
	    "[m.user.login]}},\n"
	    "  {regex: '@\\w\\w:', m.synthetic_events: {events: [m.user.login]}}]}\n");
	load_without_mistakes(p);
	assert_untold(p, LOGIN, "@alice:example.org");
	assert_int_equal(deliver(p, LOGIN, "@bobby:example.org"), 1);
	assert_int_equal(deliver(p, LOGIN, "@eve:example.org"), 1);
	assert_untold(p, LOGIN, "@eve2:example.org");
	assert_int_equal(deliver(p, LOGIN, "@\xc3\xa9t:example.org"), 1);
}

static void
local_users_only(void **state)
{
	struct place *p = *state;

	add_appservice(p, "bot", "m.synthetic_events: {events: [m.user.login]}\n");
	load_without_mistakes(p);
	assert_int_equal(deliver(p, LOGIN, "@a:example.org"), 1);
	assert_untold(p, LOGIN, "@a:example.org:8448");
	assert_untold(p, LOGIN, "@a:EXAMPLE.org");
	assert_untold(p, LOGIN, "@a:example.orgs");
	assert_untold(p, LOGIN, "@a:x:example.org");
	assert_untold(p, LOGIN, "a:example.org");
	assert_untold(p, LOGIN, "@a");
}

static void
no_url_no_delivery(void **state)
{
	struct place *p = *state;

	add(p,
	    "id: a\nhs_token: a\nurl: null\n"
	    "m.synthetic_events: {events: [m.user.login]}\n");
	add(p,
	    "id: b\nhs_token: b\nurl: ''\n"
	    "m.synthetic_events: {events: [m.user.login]}\n");
	add(p,
	    "id: c\nhs_token: c\nurl: ~\n"
	    "m.synthetic_events: {events: [m.user.login]}\n");
	load_without_mistakes(p);
	assert_int_equal(route_count(p->route), 3);
	assert_null(route_find(p->route, "b")->url);
	assert_true(route_find(p->route, "b")->subscribed);
	assert_untold(p, LOGIN, "@a:example.org");
}

static void
bad_pattern_disables(void **state)
{
	struct place *p = *state;

	add_appservice(p, "broken",
	    "namespaces:\n  users:\n"
	    "  - regex: '@('\n    m.synthetic_events: {events: [m.user.login]}\n"
	    "  - {regex: '@.*', m.synthetic_events: {events: [m.user.login]}}\n");
	add_appservice(p, "bridge", "namespaces: {users: [{regex: '@('}]}\n");
	add_appservice(p, "whole", "m.synthetic_events: {events: [m.user.login]}\n");
	load(p);
	assert_mistake(p, 0, 0, 7, "\"@(\" does not compile");
	assert_mistake(p, 1, 0, 0, "\"broken\" is told nothing");
	assert_int_equal(p->errs.count, 2);
	assert_true(route_find(p->route, "broken")->disabled);
	assert_false(route_find(p->route, "bridge")->disabled);
	assert_int_equal(deliver(p, LOGIN, "@a:example.org"), 1);
	assert_string_equal(p->out[0].appservice->id, "whole");
}

/* PCRE2's own limit would let it go on for a hundred times as long. */
static void
runaway_pattern(void **state)
{
	struct place *p = *state;
	const char *id;

	add_appservice(p, "slow",
	    "namespaces: {users: [{regex: '@(a+)+$', m.synthetic_events: "
	    "{events: [m.user.login]}}]}\n");
	load_without_mistakes(p);
	assert_int_equal(route_errors(p->route, &id), 0);
	assert_null(id);
	assert_untold(p, LOGIN, "@aaaaaaaaaaaaaaaaaaaa:example.org");
	assert_int_equal(route_errors(p->route, &id), 1);
	assert_string_equal(id, "slow");
}

/* ---- hearsay's own configuration --------------------------------------------------- */

static char *events[] = {
    (char[]){"m.user.login"}, (char[]){"uk.half-shot.msc3395.user.logout"}};

static void
configured(void **state)
{
	struct config_subscription subscriptions[] = {
	    {.appservice = (char[]){"a"}, .users = (char[]){"@z"}, .line = 3},
	    {.appservice = (char[]){"b"}, .line = 4},
	    {.appservice = (char[]){"nobody"}, .line = 5},
	    {.appservice = (char[]){"c"}, .users = (char[]){"@["}, .line = 6},
	};
	struct place *p = *state;
	size_t i;

	for (i = 0; i < 4; i++) {
		subscriptions[i].events = events;
		subscriptions[i].event_count = 2;
	}
	p->config.subscriptions = subscriptions;
	p->config.subscription_count = 4;
	add_appservice(p, "a", "namespaces: {users: [{regex: '@x'}]}\n");
	add_appservice(p, "b", "namespaces: {users: [{regex: '@y'}]}\n");
	add_appservice(p, "c", "");
	load(p);
	assert_told(p, LOGIN, "@z:example.org", "m.synthetic_events", LOGIN);
	assert_string_equal(p->out[0].appservice->id, "a");
	assert_untold(p, LOGIN, "@x:example.org");
	assert_told(p, LOGOUT, "@y:example.org", "m.synthetic_events",
	    "uk.half-shot.msc3395.user.logout");
	assert_string_equal(p->out[0].appservice->id, "b");
	assert_mistake(p, 0, SIZE_MAX, 5, "appservice \"nobody\"");
	assert_mistake(p, 1, SIZE_MAX, 6, "does not compile");
	assert_mistake(p, 2, 2, 0, "\"c\" is told nothing");
	assert_int_equal(p->errs.count, 3);
}

/* ---- mistakes ----------------------------------------------------------------------- */

static void
all_mistakes_of_a_file(void **state)
{
	struct place *p = *state;

	add(p,
	    "as_token: [secret]\n"
	    "hs_token: \"secret\\nX: y\"\n"
	    "namespaces:\n"
	    "  users:\n"
	    "  - exclusive: true\n"
	    "  - 7\n"
	    "  - regex: '@a'\n"
	    "    m.synthetic_events: [m.user.login]\n"
	    "m.synthetic_events:\n"
	    "  events: [[]]\n");
	load(p);
	assert_int_equal(route_count(p->route), 0);
	assert_mistake(p, 0, 0, 1, "\"id\" is missing");
	assert_mistake(p, 1, 0, 1, "\"url\" is missing");
	assert_mistake(p, 2, 0, 1, "\"as_token\" must be a text");
	assert_mistake(p, 3, 0, 2, "visible ASCII");
	assert_mistake(p, 4, 0, 5, "\"regex\" is missing");
	assert_mistake(p, 5, 0, 6, "must hold maps");
	assert_mistake(p, 6, 0, 8, "needs a list of types");
	assert_mistake(p, 7, 0, 10, "must be a text");
	assert_int_equal(p->errs.count, 8);
}

static void
urls(void **state)
{
	static const struct {
		const char *url;
		bool good;
	} cases[] = {
	    {"https://bot.example.org/path/", true},
	    {"http://[::1]:9000", true},
	    {"HTTP://localhost", true},
	    {"unix:///run/bot.sock", true},
	    {"http+unix://%2Frun%2Fbot.sock/base/", true},
	    {"unix://run/bot.sock", false},
	    {"http+unix://run/bot.sock", false},
	    {"http+unix://%2Frun%2", false},
	    {"http+unix://%2Frun%00", false},
	    {"unix:///", false},
	    {"ftp://localhost", false},
	    {"localhost:9000", false},
	    {"http://user@localhost", false},
	    {"http://user:pw@localhost", false},
	    {"http://localhost/?a=b", false},
	    {"'http://localhost/#f'", false},
	    {"'http://local host/'", false},
	    {"'http://'", false},
	    {"[http://localhost]", false},
	};
	struct place *p = *state;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = xasprintf("id: a\nhs_token: t\nurl: %s\n", cases[i].url);

		add(p, text);
		free(text);
		load(p);
		if ((p->errs.count == 0) != cases[i].good)
			fail_msg("%s was taken wrongly", cases[i].url);
		if (!cases[i].good)
			assert_mistake(p, 0, 0, 3, "\"url\" must be");
		err_list_clear(&p->errs);
		remove_last(p);
	}
}

static void
duplicates(void **state)
{
	struct place *p = *state;

	add(p, "id: a\nhs_token: h1\nas_token: a1\nurl: null\n");
	add(p, "id: a\nhs_token: h2\nas_token: a2\nurl: null\n");
	add(p, "id: c\nhs_token: h1\nas_token: a3\nurl: null\n");
	add(p, "id: d\nhs_token: h4\nas_token: a1\nurl: null\n");
	add(p, "id: e\nhs_token: h5\nas_token: h1\nurl: null\n");
	load(p);
	assert_mistake(p, 0, 1, 0, "has the \"id\" of ");
	assert_mistake(p, 1, 2, 0, "has the \"hs_token\" of ");
	assert_mistake(p, 2, 3, 0, "has the \"as_token\" of ");
	assert_int_equal(p->errs.count, 3);
	assert_int_equal(route_count(p->route), 2);
}

static void
one_file_by_two_ways(void **state)
{
	struct place *p = *state;

	add_appservice(p, "a", "");
	p->patterns[1] = xasprintf("%s/./a.yaml", p->dir);
	p->config.registration_count = 2;
	load_without_mistakes(p);
	assert_int_equal(route_count(p->route), 1);
}

static void
writable_by_others(void **state)
{
	struct place *p = *state;

	add_appservice(p, "a", "");
	add_appservice(p, "b", "");
	assert_int_equal(chmod(p->files[0], 0620), 0);
	assert_int_equal(chmod(p->files[1], 0644), 0);
	load(p);
	assert_mistake(p, 0, 0, 0, "chmod go-w");
	assert_int_equal(p->errs.count, 1);
	assert_int_equal(route_count(p->route), 1);
}

static void
files_that_are_not_there(void **state)
{
	struct place *p = *state;

	load_without_mistakes(p);
	assert_int_equal(route_count(p->route), 0);
	p->patterns[1] = xasprintf("%s/none", p->dir);
	p->config.registration_count = 2;
	load(p);
	assert_int_equal(p->errs.count, 1);
	assert_non_null(strstr(p->errs.texts[0], "No such file"));
	err_list_clear(&p->errs);
	free(p->patterns[1]);
	p->patterns[1] = xstrdup(p->dir);
	load(p);
	assert_int_equal(p->errs.count, 1);
	assert_non_null(strstr(p->errs.texts[0], "is no regular file"));
}

/* ---- YAML that means harm -------------------------------------------------------------- */

static void
assert_refused(struct place *p, const char *text, unsigned line, const char *what)
{
	add(p, text);
	load(p);
	assert_int_equal(route_count(p->route), 0);
	assert_mistake(p, 0, 0, line, what);
	assert_int_equal(p->errs.count, 1);
	err_list_clear(&p->errs);
	remove_last(p);
}

static void
yaml_bounds(void **state)
{
	struct place *p = *state;
	struct buf deep = {0}, wide = {0};
	unsigned i;

	assert_refused(p, "id: &a x\nhs_token: *a\nurl: null\n", 2, "aliases");
	assert_refused(p, "id: x\n---\nid: y\n", 2, "second document");
	assert_refused(p, "id: x\nurl: null\nid: y\n", 3, "stands here twice");
	assert_refused(p, "id: x\n? [a]\n: b\n", 2, "a key must be a text");
	assert_refused(p, "id: \"a\\0b\"\n", 1, "NUL");
	assert_refused(p, "", 1, "there is nothing in it");
	assert_refused(p, "- id: x\n", 1, "is no registration");
	assert_refused(p, "id: x\nurl: [\n", 3, "is no YAML");
	assert_refused(p, "id: x\nurl: \x01\n", 2, "is no YAML");
	buf_adds(&deep, "id: x\nurl: ");
	for (i = 0; i < 1000; i++)
		buf_addc(&deep, '[');
	assert_refused(p, deep.p, 2, "nested too deeply");
	for (i = 0; i < 2000; i++)
		buf_addf(&wide, "k%u: v\n", i);
	assert_refused(p, wide.p, 1001, "too many keys");
	buf_free(&wide);
	buf_free(&deep);
}

static void
too_long(void **state)
{
	static const size_t size = 1024 * 1024 + 1;
	struct place *p = *state;
	char *text = xmalloc(size);

	memset(text, '#', size);
	add_bytes(p, text, size);
	free(text);
	load(p);
	assert_mistake(p, 0, 0, 0, "longer than 1 MiB");
	assert_int_equal(p->errs.count, 1);
}

/* Whatever is wrong, no sentence quotes a token: cut the file at every byte. */
static void
tokens_stay_secret(void **state)
{
	static const char text[] =
	    "id: a\nhs_token: \"s3cr3t\\x41\"\nas_token: [s3cr3t, {s3cr3t: s3cr3t}]\n"
	    "url: [x\n";
	struct place *p = *state;
	size_t cut, i;

	for (cut = 0; cut < sizeof(text); cut++) {
		add_bytes(p, text, cut);
		load(p);
		assert_true(p->errs.count > 0);
		for (i = 0; i < p->errs.count; i++)
			assert_null(strstr(p->errs.texts[i], "s3cr3t"));
		err_list_clear(&p->errs);
		remove_last(p);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(every_language),
	    TEST(early_form_with_namespaces),
	    TEST(several_items),
	    TEST(several_appservices),
	    TEST(extensions_only_if_listed),
	    TEST(anchored_at_the_start_only),
	    TEST(local_users_only),
	    TEST(no_url_no_delivery),
	    TEST(bad_pattern_disables),
	    TEST(runaway_pattern),
	    TEST(configured),
	    TEST(all_mistakes_of_a_file),
	    TEST(urls),
	    TEST(duplicates),
	    TEST(one_file_by_two_ways),
	    TEST(writable_by_others),
	    TEST(files_that_are_not_there),
	    TEST(yaml_bounds),
	    TEST(too_long),
	    TEST(tokens_stay_secret),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
