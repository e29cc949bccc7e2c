#include "decode/timestamp.h"

#include <string.h>

#define SECOND_MS 1000LL
#define DAY_S 86400LL
#define YEAR_MAX 9999
#define EPOCH_DIGITS_MAX 15 /* nothing below overflows */

/* What is left of the text. */
struct cursor {
	const char *p, *end;
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
at_digit(const struct cursor *c)
{
	return c->p < c->end && is_digit(*c->p);
}

/* Pass over one byte of set. */
static bool
take(struct cursor *c, const char *set)
{
	for (; c->p < c->end && *set != '\0'; set++)
		if (*c->p == *set) {
			c->p++;
			return true;
		}
	return false;
}

/* Exactly width digits. */
static bool
take_number(struct cursor *c, unsigned width, int *n_r)
{
	for (*n_r = 0; width > 0; width--) {
		if (!at_digit(c))
			return false;
		*n_r = *n_r * 10 + (*c->p++ - '0');
	}
	return true;
}

/* The digits behind a decimal point, at least one, as thousandths. */
static bool
take_fraction(struct cursor *c, int *thousandths_r)
{
	int weight = 100;

	*thousandths_r = 0;
	if (!at_digit(c))
		return false;
	for (; at_digit(c); c->p++, weight /= 10)
		*thousandths_r += (*c->p - '0') * weight;
	return true;
}

static bool
is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar, year from 1 on. */
static int64_t
days_since_1970(int year, int month, int day)
{
	int past = year - 1;
	int64_t days =
	    past * 365LL + past / 4 - past / 100 + past / 400 - 719162 + day - 1;
	int m;

	for (m = 1; m < month; m++)
		days += days_in_month(year, m);
	return days;
}

static bool
take_date(struct cursor *c, int64_t *days_r)
{
	int year, month, day;

	if (!take_number(c, 4, &year) || !take(c, "-/") || !take_number(c, 2, &month) ||
	    !take(c, "-/") || !take_number(c, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 ||
	    day > days_in_month(year, month))
		return false;
	*days_r = days_since_1970(year, month, day);
	return true;
}

static bool
take_clock(struct cursor *c, int64_t *ms_r)
{
	int hour, minute, second, fraction = 0;

	if (!take_number(c, 2, &hour) || !take(c, ":") || !take_number(c, 2, &minute) ||
	    !take(c, ":") || !take_number(c, 2, &second))
		return false;
	if (take(c, ".,") && !take_fraction(c, &fraction))
		return false;
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	if (second == 60) {
		second = 59;
		fraction = 999;
	}
	*ms_r = ((hour * 60LL + minute) * 60 + second) * SECOND_MS + fraction;
	return true;
}

/* Z, +01:00 or +0100, or nothing at all. */
static bool
take_zone(struct cursor *c, int64_t *offset_ms_r, bool *local_r)
{
	const bool east = c->p < c->end && *c->p == '+';
	int hour, minute;

	*offset_ms_r = 0;
	*local_r = c->p == c->end;
	if (*local_r || take(c, "Zz"))
		return true;
	if (!take(c, "+-") || !take_number(c, 2, &hour))
		return false;
	(void)take(c, ":");
	if (!take_number(c, 2, &minute) || hour > 23 || minute > 59)
		return false;
	*offset_ms_r = (east ? 1 : -1) * (hour * 60LL + minute) * 60 * SECOND_MS;
	return true;
}

static bool
take_iso(struct cursor *c, struct timestamp *ts_r)
{
	int64_t days, clock_ms, offset_ms;

	if (!take_date(c, &days) || !take(c, " Tt") || !take_clock(c, &clock_ms) ||
	    !take_zone(c, &offset_ms, &ts_r->local))
		return false;
	ts_r->ms = days * DAY_S * SECOND_MS + clock_ms - offset_ms;
	return true;
}

/* A count since 1970 of units of unit_ms milliseconds, with or without a fraction. */
static bool
take_epoch(struct cursor *c, int64_t unit_ms, struct timestamp *ts_r)
{
	int64_t count = 0;
	int fraction = 0, digits;

	for (digits = 0; at_digit(c) && digits < EPOCH_DIGITS_MAX; digits++)
		count = count * 10 + (*c->p++ - '0');
	if (digits == 0 || (take(c, ".") && !take_fraction(c, &fraction)))
		return false;
	ts_r->ms = count * unit_ms + fraction * unit_ms / 1000;
	ts_r->local = false;
	return true;
}

int
timestamp_parse(enum time_kind kind, struct slice text, struct timestamp *ts_r)
{
	struct cursor c = {text.p, text.p + text.len};
	bool ok = false;

	if (text.len == 0)
		return -1;
	switch (kind) {
	case TIME_NONE:
	case TIME_BEFORE:
		break;
	case TIME_ISO:
		ok = take_iso(&c, ts_r);
		break;
	case TIME_EPOCH:
		ok = take_epoch(&c, SECOND_MS, ts_r);
		break;
	case TIME_EPOCH_MS:
		ok = take_epoch(&c, 1, ts_r);
		break;
	}
	return ok && c.p == c.end ? 0 : -1;
}

/* ---- stamps without a year ---------------------------------------------------- */

static bool
take_month(struct cursor *c, int *month_r)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const struct slice rest = {c->p, (size_t)(c->end - c->p)};
	int m;

	for (m = 0; m < 12; m++)
		if (rest.len >= 3 && memcmp(rest.p, names + 3 * m, 3) == 0) {
			c->p += 3;
			*month_r = m + 1;
			return true;
		}
	return false;
}

size_t
timestamp_yearless(struct slice text, struct yearless *y_r)
{
	struct cursor c = {text.p, text.p + text.len};
	bool short_day;

	if (!take_month(&c, &y_r->month) || !take(&c, " "))
		return 0;
	/* One digit stands behind a second space. */
	short_day = take(&c, " ");
	if (!take_number(&c, short_day ? 1 : 2, &y_r->day) || y_r->day < 1 ||
	    y_r->day > days_in_month(2000, y_r->month) || !take(&c, " ") ||
	    !take_clock(&c, &y_r->clock_ms))
		return 0;
	return (size_t)(c.p - text.p);
}

int
timestamp_in_year(const struct yearless *y, int year, int64_t *local_ms_r)
{
	if (year < 1 || year > YEAR_MAX || y->day > days_in_month(year, y->month))
		return -1;
	*local_ms_r =
	    days_since_1970(year, y->month, y->day) * DAY_S * SECOND_MS + y->clock_ms;
	return 0;
}

int
timestamp_year(int64_t ms)
{
	int low = 1, high = YEAR_MAX + 1;

	while (high - low > 1) {
		int middle = low + (high - low) / 2;

		if (days_since_1970(middle, 1, 1) * DAY_S * SECOND_MS <= ms)
			low = middle;
		else
			high = middle;
	}
	return low;
}
