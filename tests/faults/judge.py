"""What came of it: each receiver's transactions against what the logs say.

Knows nothing of faults but the few that excuse something: a transaction that was
discarded by hand, the time in which an appservice was not registered.
"""
import collections
import json

import logs
from receiver import MARK

ASIDE_TRIES = 3  # refusals before a transaction is set aside; see node.py


class Absence:
    """
    A time in which an appservice was not registered: places in each log, by server.

    Before sure_until, others had an event before it left; what is behind gone was not
    even written when it left.  Before sure_gone, others had it before the appservice
    came back; what is behind back was not written before it was registered again.
    """

    def __init__(self, sure_until, gone):
        self.sure_until, self.gone = sure_until, gone
        self.sure_gone = self.back = None


class Case:
    """The case of one receiver."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.discarded = {}  # id: {(server, number)}; by hand
        self.aside = set()  # ids that were set aside by hand
        self.absences = []
        self.filled = False  # what it missed was put in by replay --into

    def excused(self, all_logs):
        """Events that need not come."""
        out = set().union(*self.discarded.values())
        if self.filled:
            return out
        for absence in self.absences:
            for log in all_logs:
                back = len(log.told) if absence.back is None else absence.back[log.server]
                out.update((log.server, n)
                           for n, _ in log.told[absence.sure_until[log.server]:back])
        return out

    # ---- each returns a list of what is wrong

    def lost(self, all_logs):
        want = {(log.server, n) for log in all_logs for n, _ in log.told}
        return sorted(want - self.excused(all_logs) - self.receiver.has())

    def repeated(self):
        seen = collections.defaultdict(list)
        for taken in self.receiver.taken:
            for event in taken.events:
                seen[logs.of_event(event)].append(taken.txn)
        return [(which, txns) for which, txns in seen.items() if len(txns) > 1]

    def strange(self, all_logs):
        """Events that no log tells so."""
        by_server = {log.server: log for log in all_logs}
        bad = []
        for taken in self.receiver.taken:
            for event in taken.events:
                event = json.loads(json.dumps(event))
                mark = event["content"].pop(MARK, None)
                which = logs.of_event(event)
                log = by_server.get(which[0]) if which else None
                place = log.place.get(which[1]) if log else None
                if place is None or log.told[place][1] != event or \
                        mark not in ((None, True) if self.filled else (None,)):
                    bad.append((taken.txn, event))
        return bad

    def out_of_order(self, all_logs):
        """Live ones and filled-in ones are each in the order of their log; but one that was
        set aside comes when it comes."""
        place = {log.server: log.place for log in all_logs}
        last, bad = collections.defaultdict(lambda: -1), []
        for taken in self.receiver.taken:
            aside = taken.txn in self.may_be_aside()
            within = collections.defaultdict(lambda: -1)
            for event in taken.events:
                server, number = logs.of_event(event) or (None, None)
                at = place.get(server, {}).get(number, -1)
                key = server, MARK in event["content"]
                order = within if aside else last
                if at <= order[key]:
                    bad.append((taken.txn, server, number))
                order[key] = at
        return bad

    def may_be_aside(self):
        refused = {t for t, n in self.receiver.refused.items() if n >= ASIDE_TRIES}
        return self.aside | refused | set(self.discarded)

    def changed(self):
        return [txn for txn, hashes in self.receiver.hashes.items() if len(hashes) != 1]

    def torn(self):
        """Discarded ones that came, but not whole or under another id."""
        bad = []
        for txn, events in self.discarded.items():
            came = {logs.of_event(e) for t in self.receiver.taken if t.txn == txn
                    for e in t.events}
            elsewhere = {logs.of_event(e) for t in self.receiver.taken if t.txn != txn
                         for e in t.events if MARK not in e["content"]}
            if came not in (set(), events) or events & elsewhere:
                bad.append(txn)
        return bad

    def gaps(self, all_logs):
        """What it missed is one stretch of each log for each absence, and no more."""
        if self.filled:
            return []
        has, bad = self.receiver.has(), []
        gone = set().union(*self.discarded.values())
        for absence in self.absences:
            for log in all_logs:
                s = log.server
                back = len(log.told) if absence.back is None else absence.back[s]
                first = absence.sure_until[s]
                row = [(s, n) in has for n, _ in log.told[first:back] if (s, n) not in gone]
                edges = sum(a != b for a, b in zip(row, row[1:]))
                if edges > 2 or (edges == 2 and not row[0]):
                    bad.append((s, first, back, "not one stretch"))
                if absence.sure_gone and any((s, n) in has for n, _ in
                                             log.told[absence.gone[s]:absence.sure_gone[s]]):
                    bad.append((s, absence.gone[s], absence.sure_gone[s],
                                "told while it was not registered"))
        return bad

    def judge(self, tap, all_logs, late):
        """Says all of it; (lost, repeated, whether all is well)."""
        name, lost, repeated = self.receiver.name, self.lost(all_logs), self.repeated()
        good = tap.ok(not lost, name + ": took every event", lost[:5])
        for bad, what, asked in (
                (repeated, "no event in two transactions", True),
                (self.strange(all_logs), "each as its log has it", True),
                (self.out_of_order(all_logs), "in the order of each log", True),
                (self.changed(), "each of %d ids has one body" % len(self.receiver.hashes),
                 True),
                (self.torn(), "what was discarded is gone, or had arrived whole",
                 self.discarded),
                (self.gaps(all_logs), "all but what was told while it was not registered",
                 self.absences and not self.filled),
                (self.receiver.wrong, "nothing that no sender may do", True),
                (late, "no id again behind later ones", True)):
            if asked:
                good &= tap.ok(not bad, "%s: %s" % (name, what), bad[:5])
        return len(lost), len(repeated), good
