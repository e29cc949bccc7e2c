#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "pack/literal.h"

#define ROUNDS 20000

static void
the_longest_certain_run_is_found(void **state)
{
	static const struct {
		const char *regex, *literal;
	} rows[] = {
	    {"Logging in user .* on device (?<d>.*)", "Logging in user "},
	    {"abcd", "abcd"},
	    {"abc", NULL},
	    {"", NULL},
	    {".*", NULL},
	    /* Escapes that stand for themselves, and those that do not. */
	    {"\\*\\*\\*\\* STARTING", "**** STARTING"},
	    {"abcd\\defgh", "abcd"},
	    {"abcd\\nefghi", "efghi"},
	    /* What formats escape ends a run. */
	    {"abcd\\\"efghi\\\\jk", "efghi"},
	    {"abcd<efgh>ijklm&n", "ijklm"},
	    {"abcd\xc3\xa4"
	     "efghi",
		"efghi"},
	    /* Quantifiers. */
	    {"abcde?fgh", "abcd"},
	    {"abcde*fghij", "fghij"},
	    {"abcde+fgh", "abcde"},
	    {"abcd{0,3}efghi", "efghi"},
	    {"abcd{2}ef", "abcd"},
	    {"abcd{,3}efg", NULL},
	    {"(?:abcd)?efgh", "efgh"},
	    {"xy(?:abcd)+ef", "abcd"},
	    {"abcd+?efgh", "abcd"},
	    {"ab{cd}ef", "ab{cd}ef"},
	    {"a{1(?:b})wxyz", "a{1b}wxyz"},
	    {"abcd{ 0 }efgh", "efgh"},
	    /* Groups that come once continue the run. */
	    {"ab(?:cd)ef", "abcdef"},
	    {"ab(?<name>cd)ef", "abcdef"},
	    {"ab(?P<name>cd)ef", "abcdef"},
	    {"ab(?>cd)ef", "abcdef"},
	    {"ab(cd(ef)gh)", "abcdefgh"},
	    /* Branches. */
	    {"abcd|efgh", NULL},
	    {"(?:abcd|efgh)ijkl", "ijkl"},
	    {"(?:ab(?:c|d))efgh", "efgh"},
	    {"abcdef[|]ghi", "abcdef"},
	    {"abcdef\\|ghi", "abcdef|ghi"},
	    /* What is looked at is not part of the match. */
	    {"(?=abcdefgh).*ijkl", "ijkl"},
	    {"(?!abcdefgh)ijkl", "ijkl"},
	    {"(?<=abcdefgh)ijkl", "ijkl"},
	    {"(?<!abcdefgh)ijkl", "ijkl"},
	    /* Classes. */
	    {"[]abcd]efgh", "efgh"},
	    {"[^]abcd]efgh", "efgh"},
	    {"[[:alpha:]]efgh[\\]x]", "efgh"},
	    {"abcdef[x[:b]|q[c:]", NULL},
	    /* Beyond what is read for certain. */
	    {"\\Qabcd\\E", NULL},
	    {"abcd\\x41", NULL},
	    {"(?i)abcd", NULL},
	    {"(?i:abcd)", NULL},
	    {"abcd(?R)?", NULL},
	    {"(*ANYCRLF)abcd", NULL},
	    {"ab(*ACCEPT)cdefgh", NULL},
	    {"abcdef(?#()|ghij", NULL},
	};
	char *found;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		found = literal_of(rows[i].regex);
		if (found == NULL
			? rows[i].literal != NULL
			: rows[i].literal == NULL || strcmp(found, rows[i].literal) != 0)
			fail_msg("\"%s\": found %s, not %s", rows[i].regex,
			    found == NULL ? "nothing" : found,
			    rows[i].literal == NULL ? "nothing" : rows[i].literal);
		free(found);
	}
}

/* A regex and a text that it matches, made side by side. */
struct pair {
	uint64_t random;
	struct buf regex, text;
	unsigned groups;
};

static unsigned
draw(struct pair *p, unsigned below)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (unsigned)((p->random >> 24) % below);
}

static void
make_letters(struct pair *p)
{
	static const char letters[] = "abcdefgh 019/_-:='\"<>&@.*+?()[]{}|\\^$";
	unsigned n = 1 + draw(p, 7);
	char c;

	while (n-- > 0) {
		c = letters[draw(p, sizeof(letters) - 1)];
		/* A brace after a letter is one itself where no number follows. */
		if (strchr(".*+?()[]|\\^$\"", c) != NULL || (c == '{' && draw(p, 2) == 0))
			buf_addc(&p->regex, '\\');
		buf_addc(&p->regex, c);
		buf_addc(&p->text, c);
	}
}

static void
make_class(struct pair *p)
{
	static const char *const rows[][2] = {{"[abc]", "b"}, {"[]x]", "]"},
	    {"[^]x]", "["}, {"[[:alpha:]|]", "|"}, {"[x[:b]", ":"}, {"[^\\]]", "a"},
	    {"[(]", "("}, {"[)|]", ")"}, {"\\d", "7"}, {"\\S", "~"}, {".", "\n"},
	    {"[\\x41-Z]", "B"}, {"\\t", "\t"}, {"\\x7e", "~"}, {"\\Q(|\\E", "(|"},
	    {"(?i:A)", "a"}, {"(?=.|)", ""}, {"(?!ZZZZ|YYYY)", ""}, {"(?<!ZZZZ)", ""},
	    {"(?#a(|[b)", ""}};
	/* What makes literal_of give up comes seldom, so that most pairs try it. */
	unsigned i = draw(p, draw(p, 20) == 0 ? sizeof(rows) / sizeof(rows[0]) : 11);

	buf_adds(&p->regex, rows[i][0]);
	buf_adds(&p->text, rows[i][1]);
}

static void make_sequence(struct pair *p, unsigned depth);

/* Alternatives that the text does not take. */
static void
make_branch(struct pair *p, unsigned depth)
{
	size_t len = p->text.len;

	make_sequence(p, depth);
	p->text.len = len;
	if (p->text.p != NULL)
		p->text.p[len] = '\0';
}

static void
make_group(struct pair *p, unsigned depth)
{
	static const char *const openings[] = {"(", "(?:", "(?>", "(?<n%u>", "(?P<n%u>"};
	unsigned taken = draw(p, 3), branches = draw(p, 3) == 0 ? taken + draw(p, 2) : 0,
		 i;

	i = draw(p, sizeof(openings) / sizeof(openings[0]));
	if (i < 3)
		buf_adds(&p->regex, openings[i]);
	else
		buf_addf(&p->regex, i == 3 ? "(?<n%u>" : "(?P<n%u>", p->groups++);
	for (i = 0; i <= branches; i++) {
		if (i > 0)
			buf_addc(&p->regex, '|');
		if (branches == 0 || i == taken)
			make_sequence(p, depth + 1);
		else
			make_branch(p, depth + 1);
	}
	buf_addc(&p->regex, ')');
}

/* A quantifier of what was made last, whose text began at from. */
static void
make_quantifier(struct pair *p, size_t from)
{
	static const struct {
		const char *text;
		unsigned least, most;
	} rows[] = {{"?", 0, 1}, {"*", 0, 3}, {"+", 1, 3}, {"{2}", 2, 2}, {"{0,3}", 0, 3},
	    {"{1,}", 1, 4}, {"{0}", 0, 0}, {"{03,4}", 3, 4}};
	unsigned i = draw(p, sizeof(rows) / sizeof(rows[0])), times;
	char *once = xstrndup(p->text.p + from, p->text.len - from);
	size_t len = p->text.len - from;

	buf_adds(&p->regex, rows[i].text);
	if (draw(p, 3) == 0)
		buf_addc(&p->regex, '?');
	times = rows[i].least + draw(p, rows[i].most - rows[i].least + 1);
	p->text.len = from;
	while (times-- > 0)
		buf_add(&p->text, once, len);
	free(once);
}

static void
make_sequence(struct pair *p, unsigned depth)
{
	unsigned n = 1 + draw(p, 4);
	size_t from;

	buf_reserve(&p->text, 1);
	while (n-- > 0) {
		switch (draw(p, depth < 3 ? 4 : 3)) {
		case 0:
			from = p->text.len;
			buf_addc(&p->regex, 'q');
			buf_addc(&p->text, 'q');
			make_quantifier(p, from);
			break;
		case 1:
			make_letters(p);
			break;
		case 2:
			make_class(p);
			break;
		default:
			from = p->text.len;
			make_group(p, depth);
			if (draw(p, 3) == 0)
				make_quantifier(p, from);
		}
	}
}

/* 1, 0, or -1 where the regex is none. */
static int
matches(const struct pair *p)
{
	pcre2_match_data *data;
	PCRE2_SIZE at;
	pcre2_code *code;
	int error, n;

	code = pcre2_compile((PCRE2_SPTR)p->regex.p, p->regex.len,
	    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL, &error, &at, NULL);
	if (code == NULL)
		return -1;
	data = pcre2_match_data_create_from_pattern(code, NULL);
	n = pcre2_match(code, (PCRE2_SPTR)p->text.p, p->text.len, 0, 0, data, NULL);
	pcre2_match_data_free(data);
	pcre2_code_free(code);
	return n > 0;
}

static uint64_t
seed(void)
{
	const char *given = getenv("HEARSAY_TEST_SEED");

	return given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
}

static void
every_match_holds_the_literal(void **state)
{
	struct pair p = {.random = seed() * 2654435761U + 1};
	unsigned i, matched = 0, found = 0;
	char *literal;

	(void)state;
	print_message("# HEARSAY_TEST_SEED=%llu\n", (unsigned long long)seed());
	for (i = 0; i < ROUNDS; i++) {
		buf_reset(&p.regex);
		buf_reset(&p.text);
		make_sequence(&p, 0);
		if (matches(&p) != 1)
			continue;
		matched++;
		literal = literal_of(p.regex.p);
		if (literal == NULL)
			continue;
		found++;
		if (memmem(p.text.p, p.text.len, literal, strlen(literal)) == NULL)
			fail_msg("literal \"%s\" of \"%s\" is not in \"%s\"", literal,
			    p.regex.p, p.text.p);
		free(literal);
	}
	/* Else this tried nothing. */
	assert_true(matched > ROUNDS / 2);
	assert_true(found > ROUNDS / 10);
	buf_free(&p.regex);
	buf_free(&p.text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_longest_certain_run_is_found),
	    cmocka_unit_test(every_match_holds_the_literal),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
