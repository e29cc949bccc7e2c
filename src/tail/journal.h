/*
 * journal - what one unit wrote into the systemd journal, as a log.
 *
 * Each entry is handed out by itself, as one line (entry.h): a newline in its
 * message begins no other.  Entries are those that journald says are of the
 * unit (_SYSTEMD_UNIT); what a program says of itself is not believed.
 *
 * Where an entry stands is told by journald itself.  It numbers all entries
 * with one counter, which goes on through rotation and through all its files,
 * and gives the counter a random id of 128 bits; only a journal that begins anew,
 * or was found damaged, has another counter.  So a chunk's file is a hash of
 * that id, and its offset the number: the pair never comes again, grows in the
 * order of writing, and is the same whenever the entry is read.  Two counters
 * meet in their hash no sooner than two files do in their random keys.
 *
 * The place to go on from is the cursor of the newest entry that was told (in
 * the path of the checkpoint), which journald finds by counter and number, or,
 * where entries were moved from /run to /var and numbered anew, by their time.
 */
#ifndef HEARSAY_TAIL_JOURNAL_H
#define HEARSAY_TAIL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "tail/tail.h"

struct buf;
struct checkpoint;
struct err;
struct event_base;
struct source;
struct source_hooks;

/* Whose entries, and in which journal. */
struct journal_unit {
	char *unit;       /* matrix-synapse.service */
	char *identifier; /* SYSLOG_IDENTIFIER, of one of its programs; NULL: of any */
	char *directory;  /* of journal files; NULL: this machine's journal */
	char *namespace;  /* of the journal; NULL: the default one */
};

/* Was hearsay built with libsystemd?  If not, the functions below fail. */
bool journal_built(void);

/*
 * Follow unit from the loop's next round on, as the log called name: from cp, or
 * where that is NULL from start.  Borrows base and unit; hooks is copied, and
 * arg handed to each of them.  NULL on error.
 */
struct source *journal_open(struct event_base *base, const struct journal_unit *unit,
    const char *name, enum tail_start start, const struct checkpoint *cp,
    const struct source_hooks *hooks, void *arg, struct err *e);

/* Add the newest max entries of unit to lines, oldest first.  0, or -1 on error. */
int journal_look(
    const struct journal_unit *unit, size_t max, struct buf *lines, struct err *e);

#endif
