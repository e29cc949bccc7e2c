/*
 * literal - the text that every match of a regex must hold.
 *
 * The prefilter looks for it in whole buffers before any regex runs, so it
 * must be right: a literal that some match lacks would lose events.  What the
 * reader of the regex does not know for certain, it leaves out.
 */
#ifndef HEARSAY_PACK_LITERAL_H
#define HEARSAY_PACK_LITERAL_H

/*
 * The longest run of bytes that stands in every match of regex, and that JSON,
 * logfmt and the like write as they are.  malloc'd; NULL where there is none of
 * at least LITERAL_MIN bytes.
 */
#define LITERAL_MIN 4

char *literal_of(const char *regex);

#endif
