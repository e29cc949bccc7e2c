/*
 * pack_text - packs for the unit tests, from their text.
 */
#ifndef HEARSAY_TESTS_PACK_TEXT_H
#define HEARSAY_TESTS_PACK_TEXT_H

struct err_list;
struct pack;

/* The settings that each pack needs, and a format: "context logger LEVEL message". */
#define PACK_ABOUT                                                                       \
	"name = \"trial\"; title = \"Trial\"; versions = \"1\"; needs = \"nothing\";"    \
	" tested = \"source\";\n"                                                        \
	"formats = ( { name = \"plain\"; kind = \"regex\"; time = \"none\"; pattern ="   \
	" \"(?<context>[^ ]*) (?<logger>[^ ]+) (?<level>[A-Z]+) (?<message>.*)\"; } );\n"

/* Write text to a file of its own, load it, and remove the file.  As pack_load. */
struct pack *pack_of_text(const char *text, struct err_list *errs);

/* PACK_ABOUT and rules, which is what stands within rules = ( … ); the test fails if a mistake. */
struct pack *pack_of_rules(const char *rules);

#endif
