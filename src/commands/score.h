/*
 * score - captures: what is told from logs beside what their server truly did.
 *
 * A capture is a folder with logs and a truth.jsonl: one act a line, with the
 * events that it must tell (tests/captures/README.md).
 */
#ifndef HEARSAY_COMMANDS_SCORE_H
#define HEARSAY_COMMANDS_SCORE_H

struct pack_set;

/*
 * Score each capture in or below dir, and print its TAP result behind *number,
 * which counts on.  names (count of them; 0: any) are packs; a capture with a
 * log of none of these is passed over.  How many failed.
 */
unsigned score_captures(const struct pack_set *packs, const char *dir, char *const *names,
    int count, unsigned *number);

#endif
