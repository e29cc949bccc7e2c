#include "route/users.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define PATTERN_MAX_BYTES 65536
#define MATCH_LIMIT 100000 /* a user id has 255 bytes; more than this is a runaway */

struct users {
	char *regex;
	char *file;
	unsigned line;
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
};

struct users *
users_new(const char *regex, const char *file, unsigned line)
{
	struct users *u = xcalloc(1, sizeof(*u));

	u->regex = xstrdup(regex);
	u->file = xstrdup(file);
	u->line = line;
	return u;
}

void
users_free(struct users *u)
{
	if (u == NULL)
		return;
	pcre2_match_context_free(u->context);
	pcre2_match_data_free(u->data);
	pcre2_code_free(u->code);
	free(u->regex);
	free(u->file);
	free(u);
}

/* Python compiles str patterns, so \w and the like are those of Unicode. */
static int
compile(struct users *u, struct err_list *errs)
{
	const uint32_t options =
	    PCRE2_ANCHORED | PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
	unsigned char why[256];
	size_t offset;
	int code;

	if (strlen(u->regex) > PATTERN_MAX_BYTES)
		return err_list_add(errs, "%s:%u: the pattern is longer than %d bytes",
		    u->file, u->line, PATTERN_MAX_BYTES);
	u->code = pcre2_compile(
	    (PCRE2_SPTR)u->regex, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
	if (u->code != NULL)
		return 0;
	(void)pcre2_get_error_message(code, why, sizeof(why));
	return err_list_add(errs,
	    "%s:%u: the pattern \"%s\" does not compile, at its character %zu: %s",
	    u->file, u->line, u->regex, offset + 1, (const char *)why);
}

int
users_compile(struct users *u, struct err_list *errs)
{
	if (u->code != NULL)
		return 0;
	if (compile(u, errs) == -1)
		return -1;
	/* Where there is no JIT, matching is slower and as right. */
	(void)pcre2_jit_compile(u->code, PCRE2_JIT_COMPLETE);
	u->data = pcre2_match_data_create_from_pattern(u->code, NULL);
	u->context = pcre2_match_context_create(NULL);
	if (u->data == NULL || u->context == NULL)
		mem_exhausted();
	(void)pcre2_set_match_limit(u->context, MATCH_LIMIT);
	return 0;
}

int
users_match(const struct users *u, const char *user_id)
{
	size_t len = strlen(user_id);
	int got;

	got = pcre2_match(u->code, (PCRE2_SPTR)user_id, len, 0, 0, u->data, u->context);
	if (got == PCRE2_ERROR_JIT_STACKLIMIT)
		got = pcre2_match(u->code, (PCRE2_SPTR)user_id, len, 0, PCRE2_NO_JIT,
		    u->data, u->context);
	if (got >= 0)
		return 1;
	return got == PCRE2_ERROR_NOMATCH ? 0 : -1;
}
