#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "pack/literal.h"
#include "pack/loose.h"
#include "pack/pack.h"

#define EXPANSION_MAX (256 * 1024) /* bytes of a regex with its macros replaced */
#define DEPTH_MAX 8                /* macros within macros */

struct expansion {
	char *const *names, *const *texts; /* the pack's own macros */
	size_t count;
	struct buf out;
	struct pattern *pattern; /* its captures are filled in */
	size_t identified;       /* bytes of out up to the end of the last user's id */
};

static int expand(struct expansion *x, const char *text, unsigned depth, struct err *e);

static void
add_capture(struct pattern *p, const char *name, size_t len, enum capture_type type)
{
	p->captures =
	    xreallocarray(p->captures, p->capture_count + 1, sizeof(*p->captures));
	p->captures[p->capture_count++] =
	    (struct pattern_capture){.name = xstrndup(name, len), .type = type};
}

static bool
identifies(enum capture_type type)
{
	return type == CAPTURE_USER_ID || type == CAPTURE_USER_ID_URI ||
	    type == CAPTURE_LOCALPART;
}

static int
expand_macro(struct expansion *x, struct slice name, unsigned depth, struct err *e)
{
	enum capture_type type;
	const char *regex;
	size_t i;

	for (i = 0; i < x->count; i++)
		if (slice_is(name, x->names[i]))
			return expand(x, x->texts[i], depth + 1, e);
	if (!capture_macro(name.p, name.len, &regex, &type))
		return err_set(e,
		    "there is no macro %%{%.*s}; hearsay-pack(5) lists the built-in ones",
		    (int)name.len, name.p);
	buf_adds(&x->out, regex);
	return 0;
}

/* %{macro} or %{macro:capture}, p behind the "%{".  What follows it, or NULL. */
static const char *
expand_reference(struct expansion *x, const char *p, unsigned depth, struct err *e)
{
	enum capture_type type = CAPTURE_TEXT;
	const char *close = strchr(p, '}'), *colon, *regex;
	struct slice name;

	if (close == NULL) {
		err_set(e, "a \"%%{\" without its \"}\"");
		return NULL;
	}
	colon = memchr(p, ':', (size_t)(close - p));
	name = (struct slice){p, (size_t)((colon == NULL ? close : colon) - p)};
	if (colon == NULL) {
		buf_adds(&x->out, "(?:");
	} else {
		(void)capture_macro(name.p, name.len, &regex, &type);
		add_capture(x->pattern, colon + 1, (size_t)(close - colon - 1), type);
		buf_addf(&x->out, "(?<%.*s>", (int)(close - colon - 1), colon + 1);
	}
	if (expand_macro(x, name, depth, e) == -1)
		return NULL;
	buf_addc(&x->out, ')');
	if (identifies(type))
		x->identified = x->out.len;
	return close + 1;
}

static int
expand(struct expansion *x, const char *text, unsigned depth, struct err *e)
{
	const char *p = text, *next;

	if (depth > DEPTH_MAX)
		return err_set(e, "macros refer to each other in a circle");
	while ((next = strstr(p, "%{")) != NULL) {
		buf_add(&x->out, p, (size_t)(next - p));
		p = expand_reference(x, next + 2, depth, e);
		if (p == NULL)
			return -1;
		if (x->out.len > EXPANSION_MAX)
			return err_set(e, "with its macros it is longer than %d bytes",
			    EXPANSION_MAX);
	}
	buf_adds(&x->out, p);
	return 0;
}

/*
 * Name the groups of the compiled pattern.  Groups that were written without a
 * macro, (?<name>…), are text.
 */
static void
number_captures(struct pattern *p)
{
	uint32_t count = 0, size = 0, i;
	PCRE2_SPTR table = NULL;
	size_t c;

	(void)pcre2_pattern_info(p->code, PCRE2_INFO_NAMECOUNT, &count);
	if (count == 0)
		return;
	(void)pcre2_pattern_info(p->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
	(void)pcre2_pattern_info(p->code, PCRE2_INFO_NAMETABLE, &table);
	for (i = 0; i < count; i++) {
		PCRE2_SPTR row = table + (size_t)i * size;
		const char *name = (const char *)(row + 2);

		for (c = 0; c < p->capture_count; c++)
			if (strcmp(p->captures[c].name, name) == 0)
				break;
		if (c == p->capture_count)
			add_capture(p, name, strlen(name), CAPTURE_TEXT);
		p->captures[c].group = (uint32_t)(row[0] << 8 | row[1]);
	}
}

/*
 * Bytes, not UTF: a log may hold anything, and no match may fail for that.
 * Both ends are anchored here, so that no pack can forget it.
 */
static int
compile(struct pattern *p, const char *regex, struct err *e)
{
	const uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL |
	    PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C;
	unsigned char text[256];
	PCRE2_SIZE at;
	int error;

	p->code = pcre2_compile(
	    (PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
	if (p->code == NULL) {
		(void)pcre2_get_error_message(error, text, sizeof(text));
		return err_set(e, "%s, at \"%.40s\"", (char *)text,
		    regex + (at < strlen(regex) ? at : 0));
	}
	error = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
	if (error != 0 && error != PCRE2_ERROR_JIT_BADOPTION) {
		(void)pcre2_get_error_message(error, text, sizeof(text));
		return err_set(e, "cannot be compiled to machine code: %s", (char *)text);
	}
	return 0;
}

struct pattern *
pattern_compile(
    const char *text, char *const *names, char *const *texts, size_t count, struct err *e)
{
	struct pattern *p = xcalloc(1, sizeof(*p));
	struct expansion x = {
	    .names = names, .texts = texts, .count = count, .pattern = p};

	p->text = xstrdup(text);
	if (expand(&x, text, 0, e) == -1 ||
	    compile(p, x.out.p == NULL ? "" : x.out.p, e) == -1)
		goto free_pattern;
	number_captures(p);
	p->loose = loose_before(x.out.p == NULL ? "" : x.out.p, x.identified);
	p->literal = literal_of(x.out.p);
	buf_free(&x.out);
	return p;

free_pattern:
	buf_free(&x.out);
	pattern_free(p);
	return NULL;
}

void
pattern_free(struct pattern *p)
{
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->capture_count; i++)
		free(p->captures[i].name);
	free(p->captures);
	pcre2_code_free(p->code);
	free(p->literal);
	free(p->text);
	free(p);
}
