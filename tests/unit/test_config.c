#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "config/config.h"

/* A folder of its own for each test, with one hearsay.conf in it. */
struct place {
	char dir[64];
	char path[96];
	struct err_list errs;
	struct config *c;
};

static int
set_up(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/hearsay-config-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->path, sizeof(p->path), "%s/hearsay.conf", p->dir);
	*state = p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;

	config_free(p->c);
	err_list_clear(&p->errs);
	(void)unlink(p->path);
	(void)rmdir(p->dir);
	free(p);
	return 0;
}

static void
load(struct place *p, const char *text)
{
	FILE *f = fopen(p->path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	p->c = config_load(p->path, &p->errs);
	assert_true((p->c == NULL) == (p->errs.count > 0));
}

/* Mistake number i stands on that line and holds that text; line 0 is the file as a whole. */
static void
assert_mistake(const struct place *p, size_t i, unsigned line, const char *text)
{
	char *at =
	    line == 0 ? xasprintf("%s: ", p->path) : xasprintf("%s:%u: ", p->path, line);

	assert_true(i < p->errs.count);
	if (strncmp(p->errs.texts[i], at, strlen(at)) != 0 ||
	    strstr(p->errs.texts[i], text) == NULL)
		fail_msg("\"%s\" is not \"%s…%s…\"", p->errs.texts[i], at, text);
	free(at);
}

#define SERVER "servers = ( { name = \"example.org\"; logs = ( \"/a\" ); } );\n"

static void
defaults(void **state)
{
	struct place *p = *state;
	char host[HOST_NAME_MAX + 1];

	load(p, SERVER);
	assert_non_null(p->c);
	assert_string_equal(p->c->path, p->path);
	assert_string_equal(p->c->store, HEARSAY_LOCALSTATEDIR "/lib/hearsay/hearsay.db");
	assert_int_equal(gethostname(host, sizeof(host)), 0);
	assert_string_equal(p->c->instance, host);
	assert_int_equal(p->c->pattern_dir_count, 2);
	assert_string_equal(
	    p->c->pattern_dirs[0], HEARSAY_SYSCONFDIR "/hearsay/patterns");
	assert_string_equal(p->c->pattern_dirs[1], HEARSAY_PKGDATADIR "/patterns");
	assert_int_equal(p->c->registration_count, 0);
	assert_int_equal(p->c->subscription_count, 0);
	assert_false(p->c->source);
	assert_int_equal(p->c->queue_max, 1000000);
	assert_int_equal(p->c->request_max, 10000);
	assert_int_equal(p->c->request_timeout_ms, 600000);
	assert_int_equal(p->c->connect_timeout_ms, 10000);
	assert_int_equal(p->c->first_byte_timeout_ms, 30000);
	assert_int_equal(p->c->send_timeout_ms, 60000);
	assert_int_equal(p->c->set_aside_tries, 20);
	assert_int_equal(p->c->set_aside_after_ms, 3600000);
	assert_int_equal(p->c->give_up_after_ms, 0);
	assert_int_equal(p->c->keep_accepted_ms, INT64_C(7) * 24 * 3600 * 1000);
	assert_int_equal(p->c->keep_size, 1024);
	assert_int_equal(p->c->status_count, 0);
	assert_int_equal(p->c->appservice_count, 0);
	assert_int_equal(p->c->backoff_min_ms, 1000);
	assert_int_equal(p->c->backoff_max_ms, 300000);
	assert_false(p->c->legacy_token_in_query);
	assert_int_equal(p->c->servers[0].logs[0].how.start, TAIL_START_END);
	assert_null(p->c->servers[0].logs[0].pack);
	assert_null(p->c->servers[0].logs[0].timezone);
}

static void
everything(void **state)
{
	struct place *p = *state;
	const struct config_server *s;
	char *relative;

	load(p,
	    "store = \"state/db\";\n"
	    "patterns = [ \"/p\", \"mine\" ];\n"
	    "registrations = [ \"/r/*.yaml\" ];\n"
	    "servers = (\n"
	    "  { name = \"example.org\"; pack = \"synapse\"; timezone = \"UTC\";\n"
	    "    logs = ( { path = \"/l/1\"; start = \"beginning\"; "
	    "envelope = \"cri\"; },\n"
	    "             \"/l/2\",\n"
	    "             { watch = \"poll\"; path = \"l/3\"; pack = \"mas\"; timezone = \"Asia/Tokyo\"; "
	    "} ); },\n"
	    "  { name = \"[::1]:8448\"; logs = ( \"/l/4\" ); } );\n"
	    "subscriptions = ( { appservice = \"bot\"; events = [ \"m.user.login\", "
	    "\"x\" ];\n"
	    "  users = \"@.*:example\\\\.org\"; } );\n"
	    "source = true;\n"
	    "limits = { queue = 500L; requests = 3; request_timeout = 2.5; };\n"
	    "send = { connect_timeout = 1; timeout = 2; backoff_min = 0.05;\n"
	    "  backoff_max = 4; legacy_token_in_query = true; };\n");
	assert_non_null(p->c);
	relative = xasprintf("%s/state/db", p->dir);
	assert_string_equal(p->c->store, relative);
	free(relative);
	assert_int_equal(p->c->pattern_dir_count, 2);
	assert_string_equal(p->c->pattern_dirs[0], "/p");
	assert_string_equal(p->c->registrations[0], "/r/*.yaml");
	assert_int_equal(p->c->server_count, 2);
	s = &p->c->servers[0];
	assert_int_equal(s->line, 5);
	assert_int_equal(s->log_count, 3);
	assert_string_equal(s->logs[0].path, "/l/1");
	assert_int_equal(s->logs[0].how.start, TAIL_START_BEGINNING);
	assert_int_equal(s->logs[0].envelope, ENVELOPE_CRI);
	assert_int_equal(s->logs[1].envelope, ENVELOPE_AUTO);
	assert_int_equal(s->logs[1].how.watch, TAIL_WATCH_AUTO);
	assert_int_equal(s->logs[2].how.watch, TAIL_WATCH_POLL);
	assert_string_equal(s->logs[0].pack, "synapse");
	assert_string_equal(s->logs[0].timezone, "UTC");
	assert_string_equal(s->logs[1].path, "/l/2");
	assert_int_equal(s->logs[1].line, 7);
	assert_string_equal(s->logs[1].pack, "synapse");
	assert_string_equal(s->logs[2].pack, "mas");
	assert_string_equal(s->logs[2].timezone, "Asia/Tokyo");
	assert_string_equal(p->c->servers[1].name, "[::1]:8448");
	assert_null(p->c->servers[1].logs[0].pack);
	assert_int_equal(p->c->subscription_count, 1);
	assert_string_equal(p->c->subscriptions[0].appservice, "bot");
	assert_int_equal(p->c->subscriptions[0].event_count, 2);
	assert_string_equal(p->c->subscriptions[0].events[1], "x");
	assert_string_equal(p->c->subscriptions[0].users, "@.*:example\\.org");
	assert_int_equal(p->c->subscriptions[0].line, 10);
	assert_true(p->c->source);
	assert_int_equal(p->c->queue_max, 500);
	assert_int_equal(p->c->request_max, 3);
	assert_int_equal(p->c->request_timeout_ms, 2500);
	assert_int_equal(p->c->connect_timeout_ms, 1000);
	assert_int_equal(p->c->send_timeout_ms, 2000);
	assert_int_equal(p->c->backoff_min_ms, 50);
	assert_int_equal(p->c->backoff_max_ms, 4000);
	assert_true(p->c->legacy_token_in_query);
}

static void
pipes(void **state)
{
	struct place *p = *state;
	const struct config_log *logs;

	load(p,
	    "servers = ( { name = \"a.org\";\n"
	    "  logs = ( { path = \"/l\"; kind = \"fifo\"; }, \"-\", \"/m\" ); } );\n");
	assert_non_null(p->c);
	logs = p->c->servers[0].logs;
	assert_int_equal(logs[0].kind, LOG_FIFO);
	assert_int_equal(logs[1].kind, LOG_FIFO);
	assert_string_equal(logs[1].path, "-");
	assert_int_equal(logs[2].kind, LOG_FILE);
}

static void
a_fifo_is_one(void **state)
{
	struct place *p = *state;

	load(p,
	    "servers = ( { name = \"a.org\";\n"
	    "  logs = ( { path = \"/l/*\"; kind = \"fifo\"; } ); } );\n");
	assert_null(p->c);
	assert_mistake(p, 0, 2, "a FIFO has one path");
}

static void
a_word_that_is_none(void **state)
{
	struct place *p = *state;

	load(p,
	    "servers = ( { name = \"a.org\";\n"
	    "  logs = ( { path = \"/l\"; envelope = \"k8s\"; } ); } );\n");
	assert_null(p->c);
	assert_mistake(p, 0, 2,
	    "\"envelope\" must be \"auto\", \"none\", \"docker\", \"cri\", \"syslog\" or "
	    "\"journal\"");
}

static void
a_log_in_the_journal(void **state)
{
	struct place *p = *state;
	const struct config_log *l;

	if (!journal_built())
		skip();
	load(p,
	    "servers = ( { name = \"a.org\"; pack = \"synapse\"; logs = (\n"
	    "  { journal = { unit = \"hs.service\"; }; start = \"beginning\"; },\n"
	    "  { journal = { unit = \"hs@1.service\"; identifier = \"hs\";\n"
	    "      namespace = \"matrix\"; }; },\n"
	    "  { journal = { unit = \"hs.service\"; directory = \"/j\"; }; } ); } );\n");
	assert_non_null(p->c);
	l = p->c->servers[0].logs;
	assert_string_equal(l[0].path, "journal:hs.service");
	assert_int_equal(l[0].kind, LOG_JOURNAL);
	assert_int_equal(l[0].envelope, ENVELOPE_JOURNAL);
	assert_int_equal(l[0].how.start, TAIL_START_BEGINNING);
	assert_string_equal(l[0].pack, "synapse");
	assert_string_equal(l[0].journal.unit, "hs.service");
	assert_null(l[0].journal.directory);
	assert_string_equal(l[1].path, "journal:@matrix/hs@1.service:hs");
	assert_string_equal(l[1].journal.identifier, "hs");
	assert_string_equal(l[1].journal.namespace, "matrix");
	assert_string_equal(l[2].path, "journal:/j/hs.service");
	assert_string_equal(l[2].journal.directory, "/j");
}

static void
mistakes_about_the_journal(void **state)
{
	struct place *p = *state;

	if (!journal_built())
		skip();
	load(p,
	    "servers = ( { name = \"a.org\"; logs = (\n"
	    "  { journal = { }; },\n"
	    "  { journal = { unit = \"hs\"; }; },\n"
	    "  { journal = { unit = \"hs.service\"; }; watch = \"poll\"; },\n"
	    "  { journal = { unit = \"a.service\"; namespace = \"n\"; directory = \"/j\"; }; },\n"
	    "  { journal = { unit = \"b.service\"; }; },\n"
	    "  { journal = { unit = \"b.service\"; }; } ); } );\n");
	assert_null(p->c);
	assert_int_equal(p->errs.count, 5);
	assert_mistake(p, 0, 2, "\"unit\" is missing");
	assert_mistake(p, 1, 3, "\"hs\" is no unit");
	assert_mistake(p, 2, 4, "has no \"path\", \"kind\", \"watch\"");
	assert_mistake(p, 3, 5, "\"directory\" is another");
	assert_mistake(p, 4, 7, "the log \"journal:b.service\" stands on line 6 already");
}

static void
all_mistakes_at_once(void **state)
{
	struct place *p = *state;

	load(p,
	    "stor = \"x\";\n"
	    "store = 3;\n"
	    "patterns = [ ];\n"
	    "source = 1;\n"
	    "servers = (\n"
	    "  { name = \"exa mple.org\"; timezone = \"Mars/Base\";\n"
	    "    logs = ( 3,\n"
	    "      { start = \"middle\"; } ); },\n"
	    "  { name = \"a.org\"; logs = ( ); colour = 1; },\n"
	    "  7 );\n"
	    "limits = { requests = 0; queue = \"many\"; request_timeout = 0.1; };\n"
	    "send = 3;\n"
	    "subscriptions = ( { events = [ 1, 2 ]; } );\n");
	assert_null(p->c);
	assert_mistake(p, 0, 1, "there is no setting \"stor\"");
	assert_mistake(p, 1, 2, "\"store\" must be a string");
	assert_mistake(p, 2, 3, "\"patterns\" must not be empty");
	assert_mistake(p, 3, 4, "\"source\" must be true or false");
	assert_mistake(p, 4, 7, "\"logs\" must be made of paths or groups");
	assert_mistake(p, 5, 8, "\"start\" must be");
	assert_mistake(p, 6, 8, "\"path\" or \"journal\" is missing");
	assert_mistake(p, 7, 6, "is no server name");
	assert_mistake(p, 8, 6, "\"timezone\"");
	assert_mistake(p, 9, 9, "\"logs\" must not be empty");
	assert_mistake(p, 10, 9, "there is no setting \"colour\"");
	assert_mistake(p, 11, 10, "\"servers\" must be made of groups");
	assert_mistake(p, 12, 11, "\"requests\" must be from 1");
	assert_mistake(p, 13, 11, "\"queue\" must be a whole number");
	assert_mistake(p, 14, 11, "\"request_timeout\" must be from 1 to 86400 seconds");
	assert_mistake(p, 15, 12, "\"send\" must be made of groups");
	assert_mistake(p, 16, 13, "\"events\" must be a string");
	assert_mistake(p, 17, 13, "\"events\" must be a string");
	assert_mistake(p, 18, 13, "\"appservice\" is missing");
	assert_int_equal(p->errs.count, 19);
}

static void
twice(void **state)
{
	struct place *p = *state;

	load(p,
	    "servers = (\n"
	    "  { name = \"a.org\"; logs = ( \"/1\",\n"
	    "    \"/1\" ); },\n"
	    "  { name = \"a.org\"; logs = ( \"/2\" ); },\n"
	    "  { name = \"b.org\"; logs = (\n"
	    "    { path = \"/2\"; } ); } );\n"
	    "send = { backoff_min = 600; };\n");
	assert_mistake(p, 0, 3, "the log \"/1\" stands on line 2 already");
	assert_mistake(p, 1, 4, "the server \"a.org\" stands on line 2 already");
	assert_mistake(p, 2, 6, "the log \"/2\" stands on line 4 already");
	assert_mistake(p, 3, 7, "\"backoff_min\" must not be longer");
	assert_int_equal(p->errs.count, 4);
}

static void
server_names(void **state)
{
	static const struct {
		const char *name;
		bool good;
	} names[] = {
	    {"example.org", true},
	    {"localhost:8448", true},
	    {"192.0.2.1", true},
	    {"[2001:db8::1]:1", true},
	    {"[2001:db8::1]", true},
	    {"example.org:", false},
	    {"example.org:123456", false},
	    {"example.org:8x", false},
	    {"exam_ple.org", false},
	    {"https://example.org", false},
	    {"[::1", false},
	    {"[]", false},
	    {":8448", false},
	};
	struct place *p = *state;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *text =
		    xasprintf("servers = ( { name = \"%s\"; logs = ( \"/a\" ); } );",
			names[i].name);

		load(p, text);
		if ((p->c != NULL) != names[i].good)
			fail_msg("\"%s\" was taken wrongly", names[i].name);
		free(text);
		config_free(p->c);
		p->c = NULL;
		err_list_clear(&p->errs);
	}
}

static void
what_statuses_mean(void **state)
{
	struct place *p = *state;

	load(p,
	    SERVER "send = { statuses = ( { status = 413; means = \"retry\"; },\n"
		   "  { status = \"500-599\"; means = \"set-aside\"; } );\n"
		   "  set_aside_tries = 3; give_up_after = 60; };\n");
	assert_int_equal(p->c->status_count, 2);
	assert_int_equal(p->c->statuses[0].first, 413);
	assert_int_equal(p->c->statuses[0].last, 413);
	assert_int_equal(p->c->statuses[0].action, VERDICT_RETRY);
	assert_int_equal(p->c->statuses[1].first, 500);
	assert_int_equal(p->c->statuses[1].last, 599);
	assert_int_equal(p->c->statuses[1].action, VERDICT_SET_ASIDE);
	assert_int_equal(p->c->set_aside_tries, 3);
	assert_int_equal(p->c->give_up_after_ms, 60000);
	config_free(p->c);

	load(p,
	    SERVER "send = { statuses = (\n{ status = 99; means = \"retry\"; },\n"
		   "{ status = \"500-\"; means = \"retry\"; },\n"
		   "{ status = \"500-400\"; means = \"retry\"; },\n"
		   "{ status = 500; means = \"maybe\"; },\n"
		   "{ status = 500; },\n"
		   "{ status = true; means = \"odd\"; } ); };\n");
	assert_int_equal(p->errs.count, 6);
	assert_mistake(p, 0, 3, "from 200 to 599");
	assert_mistake(p, 1, 4, "from 200 to 599");
	assert_mistake(p, 2, 5, "from 200 to 599");
	assert_mistake(p, 3, 6, "\"pause\" or \"set-aside\"");
	assert_mistake(p, 4, 7, "\"means\" is missing");
	assert_mistake(p, 5, 8, "from 200 to 599");
}

static void
ways_to_appservices(void **state)
{
	struct place *p = *state;
	char *ca;

	load(p,
	    SERVER
	    "appservices = ( { id = \"a\"; ca = \"ca.pem\"; certificate = \"/c\";\n"
	    "  key = \"/k\"; tls_min = \"1.3\"; proxy = \"http://p:1\"; },\n"
	    "  { id = \"b\"; } );\n");
	ca = xasprintf("%s/ca.pem", p->dir);
	assert_int_equal(p->c->appservice_count, 2);
	assert_string_equal(p->c->appservices[0].id, "a");
	assert_string_equal(p->c->appservices[0].ca, ca);
	assert_string_equal(p->c->appservices[0].certificate, "/c");
	assert_string_equal(p->c->appservices[0].key, "/k");
	assert_string_equal(p->c->appservices[0].proxy, "http://p:1");
	assert_int_equal(p->c->appservices[0].tls_min, 13);
	assert_null(p->c->appservices[1].ca);
	assert_int_equal(p->c->appservices[1].tls_min, 12);
	free(ca);
	config_free(p->c);

	load(p,
	    SERVER "appservices = ( { id = \"a\"; key = \"/k\"; },\n"
		   "  { id = \"a\"; tls_min = \"1.1\"; } );\n");
	assert_int_equal(p->errs.count, 3);
	assert_mistake(p, 0, 2, "\"key\" needs a \"certificate\"");
	assert_mistake(p, 1, 3, "\"tls_min\" must be \"1.2\" or \"1.3\"");
	assert_mistake(p, 2, 3, "stands on line 2 already");
}

static void
files_that_are_none(void **state)
{
	struct place *p = *state;

	load(p, "servers = (\n\n { name = ;\n");
	assert_mistake(p, 0, 3, "syntax error");
	err_list_clear(&p->errs);

	load(p, "");
	assert_mistake(p, 0, 0, "\"servers\" is missing");
	err_list_clear(&p->errs);

	assert_null(config_load(p->dir, &p->errs));
	assert_int_equal(p->errs.count, 1);
	assert_non_null(strstr(p->errs.texts[0], "Is a directory"));
	err_list_clear(&p->errs);

	assert_null(config_load("/nowhere/hearsay.conf", &p->errs));
	assert_int_equal(p->errs.count, 1);
	assert_non_null(strstr(p->errs.texts[0], "No such file"));
}

static void
relative_to_where_we_are(void **state)
{
	struct place *p = *state;
	char *cwd = getcwd(NULL, 0), *store = xasprintf("%s/db", p->dir);

	assert_non_null(cwd);
	load(p, SERVER "store = \"db\";\n");
	config_free(p->c);
	assert_int_equal(chdir(p->dir), 0);
	p->c = config_load("hearsay.conf", &p->errs);
	assert_int_equal(chdir(cwd), 0);
	assert_non_null(p->c);
	assert_string_equal(p->c->store, store);
	free(store);
	free(cwd);
}

static void
stores_by_url(void **state)
{
	static const char url[] = "postgresql://ann:s3cr3t@db.example.org/hearsay";
	struct place *p = *state;

	load(p,
	    SERVER "store = \"postgresql://ann:s3cr3t@db.example.org/hearsay\";\n"
		   "instance = \"worker 1\";\n");
	assert_non_null(p->c);
	assert_string_equal(p->c->store, url);
	assert_string_equal(p->c->instance, "worker 1");
	config_free(p->c);

	load(p, SERVER "store = \"mysql://ann:s3cr3t@db.example.org/hearsay\";\n");
	assert_null(p->c);
	assert_mistake(p, 0, 2, "\"store\" must be a path, or postgresql://");
	assert_null(strstr(p->errs.texts[0], "s3cr3t"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(defaults, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(everything, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(pipes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_fifo_is_one, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_word_that_is_none, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_log_in_the_journal, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		mistakes_about_the_journal, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(all_mistakes_at_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(twice, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(server_names, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_statuses_mean, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(ways_to_appservices, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(files_that_are_none, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(relative_to_where_we_are, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(stores_by_url, set_up, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
