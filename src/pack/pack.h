/*
 * pack - what hearsay knows of one homeserver's log, as data: hearsay-pack(5).
 *
 * A pack has formats (how a line becomes a record), rules (what a record
 * means) and samples (lines and the events they must give).  This module reads
 * and checks packs and compiles their patterns; decode, match and extract use
 * what it made.  A pack never changes after it was loaded.
 */
#ifndef HEARSAY_PACK_PACK_H
#define HEARSAY_PACK_PACK_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pack/capture.h"

struct err;
struct err_list;

/* The parts that every record has; what a line has beyond these are fields. */
enum record_part {
	PART_TIME,
	PART_LEVEL,
	PART_LOGGER,
	PART_CONTEXT,
	PART_MESSAGE,
	PART_COUNT
};

enum format_kind { FORMAT_REGEX, FORMAT_JSON, FORMAT_LOGFMT, FORMAT_JOURNAL };

enum time_kind {
	TIME_NONE,   /* the lines have no time */
	TIME_BEFORE, /* nor these, but other formats' do: that of the newest one before */
	TIME_ISO,    /* 2026-11-23T09:46:28.829Z and its kin: ' ' or 'T', '.' or ',', any
	                 number of digits behind it, zone "Z", "+01:00", "+0100" or none */
	TIME_EPOCH,  /* seconds since 1970, fraction allowed */
	TIME_EPOCH_MS /* milliseconds since 1970 */
};

struct pack_format {
	char *name;
	enum format_kind kind;
	enum time_kind time;
	bool forgeable; /* users can get a line of their own into a log of this format */
	bool ansi; /* escape sequences of colours are taken out before anything else */
	/*
	 * Each line begins with an escape sequence, and the server writes none of a
	 * user's: once such a line was seen, one that begins otherwise is a user's.
	 */
	bool coloured;

	/*
	 * FORMAT_REGEX, and FORMAT_JOURNAL where not NULL: anchored at both ends.
	 * group[PART_*] is the group's number, 0 if none.
	 */
	struct pattern *pattern;
	uint32_t group[PART_COUNT];

	/*
	 * The other kinds: the key of each part, NULL if the format has none.  A line is of this format when it has every key named here
	 * (context apart, which may be missing or null).
	 */
	char *key[PART_COUNT];
};

/* A compiled PCRE2 pattern (bytes, JIT, anchored at both ends) with its typed captures. */
struct pattern {
	char *text; /* as written in the pack, before macros were put in */
	pcre2_code *code;
	struct pattern_capture {
		char *name;
		uint32_t group;
		enum capture_type type;
	} * captures;
	size_t capture_count;
	/* The longest literal that every match holds, as it stands in the line in any
	   format: free of bytes that JSON or logfmt would escape.  NULL if none. */
	char *literal;
	/* A catch-all stands before or in a user's id: text could move what is captured. */
	bool loose;
};

/* A value in an event: a constant, or the name of a capture. */
struct pack_value {
	char *field; /* user_id, device_id, soft_logout… */
	enum { VALUE_CAPTURE, VALUE_STRING, VALUE_BOOL } kind;
	char *text; /* of a capture: its name; of a string: itself */
	bool yes;   /* of a bool */
};

struct pack_emit {
	char *type; /* m.user.login */
	char *each; /* name of a list-valued capture: one event for each item; or NULL */
	bool unless_told; /* not if the same event was told a while ago (told.h) */
	struct pack_value *values;
	size_t value_count;
	struct pack_value *source; /* what goes into org.hearsay.source beside the rule */
	size_t source_count;
};

/*
 * A field of the record (or a part, by its name) that must match; its captures
 * are the rule's as well.
 */
struct pack_guard {
	char *field;
	struct pattern *pattern;
};

struct pack_rule {
	char *name;
	char **formats; /* only records of these; none: any */
	size_t format_count;
	char *
	    logger; /* the record's logger is this, or begins with it where it ends in '*'; NULL: any */
	char **levels; /* any of these; none: any */
	size_t level_count;
	struct pack_guard *guards;
	size_t guard_count;
	struct pattern *pattern; /* of the message */

	/*
	 * What follows a match.  with: only if matches of all these rules are
	 * remembered; their captures count as this rule's own, later ones through
	 * earlier ones, and the rule follows once for each combination (or, with
	 * once, for the first).  without: only if none of these is remembered.
	 * remember: all captures are kept by the rule's name under the context of
	 * the log, or, with a key, under the value of the capture of that name for
	 * all logs of the server.  spends: the memories that were taken up are
	 * dropped.  ends: the context ends here.  resets: every context of the log
	 * ends here (the server began anew).
	 */
	char **with;
	size_t with_count;
	char **without;
	size_t without_count;
	bool once;
	bool remember;
	char *key;
	bool spends;
	bool ends;
	bool resets;
	char *renews; /* what was told of this type may be told again; or NULL */
	/*
	 * Where users can forge lines: raw is how many characters of a user's text
	 * are expected at the line's end and, with newlines, behind it (doubt.h),
	 * unless "with" and "without" say that there is none; longest is how many
	 * there can be at all (0: nobody knows).
	 * suspect: the line imitates another; nothing is told by it.
	 */
	uint64_t raw, longest;
	/* A capture that holds the text escaped, so that it has no more characters than
	   that, and raw of them are the server's; NULL: there is none. */
	char *escaped;
	/* A rule whose line the same request always writes behind the text, once; it
	   is known by its key's capture, which both rules have.  NULL: there is none. */
	char *until;
	bool suspect;
	bool sentinel;    /* a healthy log keeps showing lines that fit */
	bool contextless; /* "without" holds too where the record has no context at all */
	struct pack_emit *emit; /* NULL: tells nothing by itself */
	unsigned line;          /* in the pack's file */
};

/* Another text in the place of one that stands once in a sample's lines. */
struct pack_edit {
	char *from, *to;
	unsigned line;
};

struct pack_sample {
	char *name;
	char *
	    *rules; /* that must be at work in it, and no others; none: nothing is told */
	size_t rule_count;
	char *server; /* the server name it is read with; example.org unless given */
	char **lines;
	size_t line_count;
	struct pack_edit *nots; /* with each of them the rules are not at work */
	size_t not_count;
	struct pack_edit
	    *hostile; /* a user may write that: nothing else is told for it */
	size_t hostile_count;
	char **events; /* JSON objects {"type", "content"[, "ts"]}; ts only where given */
	size_t event_count;
	unsigned line;
};

/* What the pack can tell of one event type. */
struct pack_tells {
	char *type;
	char *how;  /* "exact", "partial", "no" */
	char *note; /* which field is missing, from which version */
};

struct pack {
	char *name;  /* synapse */
	char *title; /* Synapse */
	char *versions;
	char *needs;   /* which log level or logger setting */
	char **advice; /* lines: how to have the server write what users can't forge */
	size_t advice_count;
	char *tested; /* "captures", "source" */
	char *path;   /* of the file */
	/* Of a context that is a numbered request: groups "number" and "method"; or NULL. */
	struct pattern *request;
	struct pack_tells *tells;
	size_t tells_count;
	struct pack_format *formats;
	size_t format_count;
	struct pack_rule *rules;
	size_t rule_count;
	struct pack_sample *samples;
	size_t sample_count;
};

/*
 * Compile text, after its macros were replaced: those in names/texts (count of
 * them), then the built-in ones.  NULL on error, with a sentence in e.
 */
struct pattern *pattern_compile(const char *text, char *const *names, char *const *texts,
    size_t count, struct err *e);
void pattern_free(struct pattern *p);

/*
 * Read one pack file.  NULL where there is any mistake; errs then has them all,
 * "file:line: sentence".
 */
struct pack *pack_load(const char *path, struct err_list *errs);
void pack_free(struct pack *p);

/* The rule of that name, or NULL. */
const struct pack_rule *pack_rule_find(const struct pack *p, const char *name);

/* The packs of several directories; a file found first hides later ones of its name. */
struct pack_set {
	struct pack **packs; /* in order of name */
	size_t count;
};

/* -1 where any of them had a mistake (told in errs); the others are loaded. */
int pack_set_load(
    struct pack_set *set_r, char *const *dirs, size_t dir_count, struct err_list *errs);
void pack_set_clear(struct pack_set *set);
/* NULL where there is none of that name. */
const struct pack *pack_set_find(const struct pack_set *set, const char *name);

#endif
