#include "tail/names.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define DATE_DIGITS                                                                      \
	6 /* fewer digits between name and extension number a worker, not a day */
#define WITHIN_DIGITS 3 /* at most, of a number there; a year has more */
#define DAY_DIGITS 4    /* behind the whole name: month and day */
#define EPOCH_DIGITS 10
#define TAI64N_DIGITS 24
#define CURRENT "current" /* as multilog, svlogd and s6-log name it */

static const char *const packed_endings[] = {".gz", ".zst", ".xz", ".bz2", ".lz4"};
static const char *const old_endings[] = {".old", ".bak", ".prev", ".orig", "~"};

unsigned long
names_unpacked_len(const char *name)
{
	size_t len = strlen(name), i;

	for (i = 0; i < sizeof(packed_endings) / sizeof(packed_endings[0]); i++) {
		size_t n = strlen(packed_endings[i]);

		if (len > n && strcmp(name + len - n, packed_endings[i]) == 0)
			return len - n;
	}
	return len;
}

bool
names_packed(const char *name)
{
	return name[names_unpacked_len(name)] != '\0';
}

/* Is p[0..len) a separator and a date, or (where numbers are allowed) ".17"? */
static bool
is_stamp(const char *p, size_t len, bool number_too)
{
	size_t i, digits = 0, others = 0;

	if (len < 2 || strchr(".-_", p[0]) == NULL)
		return false;
	for (i = 1; i < len; i++) {
		if (isdigit((unsigned char)p[i]))
			digits++;
		else if (strchr("-_.:TtWwZz", p[i]) != NULL)
			others++;
		else
			return false;
	}
	if (digits >= (number_too ? DAY_DIGITS : DATE_DIGITS))
		return true;
	return number_too && p[0] == '.' && digits > 0 && others == 0;
}

static bool
is_old_ending(const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(old_endings) / sizeof(old_endings[0]); i++)
		if (strlen(old_endings[i]) == len && strncmp(p, old_endings[i], len) == 0)
			return true;
	return false;
}

/* homeserver.log and something behind it. */
static bool
ends_anew(const char *base, const char *name, size_t name_len)
{
	size_t len = strlen(base);

	if (name_len < len || strncmp(base, name, len) != 0)
		return false;
	if (name_len == len)
		return name[name_len] != '\0'; /* nothing but .gz behind it */
	return is_stamp(name + len, name_len - len, true) ||
	    is_old_ending(name + len, name_len - len);
}

static size_t
stem_len(const char *base)
{
	const char *dot = strrchr(base, '.');

	return dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
}

/* What name has between base's stem and its extension; its length, 0: it is none such. */
static size_t
within(const char *base, const char *name, const char **p_r)
{
	size_t len = names_unpacked_len(name), stem = stem_len(base);
	size_t ending = strlen(base + stem);

	*p_r = name + stem;
	if (ending == 0 || len <= stem + ending || strncmp(base, name, stem) != 0 ||
	    strncmp(name + len - ending, base + stem, ending) != 0)
		return 0;
	return len - stem - ending;
}

/* Of p[0..len), a dot and at most max digits: the number; -1: it is none. */
static long
number_of(const char *p, size_t len, size_t max)
{
	long n = 0;
	size_t i;

	if (len < 2 || len > max + 1 || p[0] != '.')
		return -1;
	for (i = 1; i < len; i++) {
		if (!isdigit((unsigned char)p[i]))
			return -1;
		n = n * 10 + (p[i] - '0');
	}
	return n;
}

/* homeserver-20260101.log, homeserver.1.log: a date or a number before the extension. */
static bool
ends_within(const char *base, const char *name)
{
	const char *p;
	size_t len = within(base, name, &p);

	return is_stamp(p, len, false) || number_of(p, len, WITHIN_DIGITS) != -1;
}

/* @4000000065a1b2c30a1b2c3d.s beside current. */
static bool
is_of_current(const char *base, const char *name)
{
	size_t len = strspn(name + 1, "0123456789abcdef");

	if (strcmp(base, CURRENT) != 0 || name[0] != '@' || len != TAI64N_DIGITS)
		return false;
	name += 1 + len;
	return strcmp(name, ".s") == 0 || strcmp(name, ".u") == 0 || *name == '\0';
}

unsigned long
names_stem_len(const char *base)
{
	return strcmp(base, CURRENT) == 0 ? 0 : stem_len(base);
}

bool
names_rotated(const char *base, const char *name)
{
	size_t len = names_unpacked_len(name);

	return ends_anew(base, name, len) || ends_within(base, name) ||
	    is_of_current(base, name);
}

long
names_number(const char *base, const char *name)
{
	size_t len = names_unpacked_len(name), base_len = strlen(base);
	const char *p;

	if (len > base_len && strncmp(base, name, base_len) == 0)
		return number_of(name + base_len, len - base_len, DATE_DIGITS - 1);
	len = within(base, name, &p);
	return number_of(p, len, WITHIN_DIGITS);
}

int
names_compare_dated(const char *a, const char *b)
{
	char *bare_a = xstrndup(a, names_unpacked_len(a));
	char *bare_b = xstrndup(b, names_unpacked_len(b));
	int order = strverscmp(bare_a, bare_b);

	free(bare_a);
	free(bare_b);
	return order;
}

static bool
is_year_first(const char *p)
{
	if (strspn(p, "0123456789") >= EPOCH_DIGITS)
		return true;
	return (strncmp(p, "19", 2) == 0 || strncmp(p, "20", 2) == 0) &&
	    strspn(p, "0123456789") >= 4;
}

bool
names_dated(const char *base, const char *name)
{
	size_t len = strlen(base);

	if (is_of_current(base, name))
		return true;
	if (strncmp(base, name, len) != 0)
		len = stem_len(base);
	name += len;
	name += strspn(name, ".-_");
	return is_year_first(name);
}
