/*
 * say - hearsay's own log: one line a happening on stderr, key=value.
 *
 * Under systemd (JOURNAL_STREAM is set) each line begins with <priority>, as
 * sd-daemon(3) asks; elsewhere with the level's name.  Bytes that could move a
 * terminal or start a line of their own are escaped, and so is what is not UTF-8:
 * the journal shows no line that has it.
 */
#ifndef HEARSAY_BASE_SAY_H
#define HEARSAY_BASE_SAY_H

/* level: LOG_ERR, LOG_WARNING, LOG_NOTICE or LOG_INFO of syslog.h. */
void say(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
