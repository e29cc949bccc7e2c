/*
 * samples - do a pack's samples show each of its rules at work, and at rest?
 *
 * A sample is a little log of its own, read by the clock of its lines.  Its
 * edits are more of them: the same log with another text in one place.
 */
#ifndef HEARSAY_COMMANDS_SAMPLES_H
#define HEARSAY_COMMANDS_SAMPLES_H

struct pack;
struct pack_set;
struct zone;

/*
 * Run all samples of pack beside the packs of set, to which it belongs; results
 * as TAP on standard output, counted on from *number.  The number of failures.
 */
unsigned samples_run(const struct pack_set *set, const struct pack *pack,
    const struct zone *zone, unsigned *number);

#endif
