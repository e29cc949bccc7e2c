#!/usr/bin/env python3
"""The store in SQLite under faults: kill -9 at any write, disks, clocks, receivers."""
import errno
import sqlite3
import subprocess
import time

import harness
from harness import OPENS, READS, SYNCS, TRUNCATES, WRITES, lib

RATE = 24000  # bytes a second that each log grows by

# What a disk says, and to which calls.
TROUBLES = (
    ("no space", errno.ENOSPC, WRITES | TRUNCATES),
    ("quota", errno.EDQUOT, WRITES | TRUNCATES),
    ("I/O errors on write", errno.EIO, WRITES),
    ("I/O errors on sync", errno.EIO, SYNCS),
    ("I/O errors on read", errno.EIO, READS),
    ("I/O errors everywhere", errno.EIO, READS | WRITES | SYNCS | TRUNCATES | OPENS),
    ("read-only", errno.EROFS, WRITES | TRUNCATES | OPENS),
)


class Sqlite(harness.Harness):
    def aim(self, node, within):
        """Have it die at one of its next calls of the disk."""
        how = self.rng.randint(harness.DIE_BEFORE, harness.CUT_POWER)
        node.control.set(how=how, at=node.control.get("calls") + self.rng.randint(1, within))
        self.counts[("ended before a call", "ended behind a call", "ended within a call",
                     "power cut")[how - 1]] += 1

    def die(self, node):
        self.aim(node, 80)
        if node.wait_end(1.5) is None:
            node.kill()
        node.control.set(at=0)

    def die_at_start(self, node):
        node.kill()
        self.aim(node, 25)
        node.start()
        if node.wait_end(1) is None:
            node.kill()
        node.control.set(at=0)

    def cut_later(self, node):
        """The machine loses its power after the process was killed."""
        node.kill()
        node.control.set(cut_next=1)

    def trouble(self, node):
        name, error, which = self.rng.choice(TROUBLES)
        self.counts["disk: " + name] += 1
        node.trouble = True
        forgets = self.rng.choice((harness.FORGETS_NOTHING, harness.FORGETS_TO_SYNC,
                                   harness.FORGETS_ALL))
        node.control.set(which=which, error=error, forgets=forgets)
        time.sleep(self.rng.random() * self.rng.choice((0.1, 3)))
        then = self.rng.choice((None, None, None, self.kill, self.term, self.die,
                                self.cut_later))
        if then:
            then(node)
            self.counts["disk fails, then " + then.__name__] += 1
            node.tend()
            time.sleep(self.rng.random() * 0.5)
        node.control.set(error=0)

    def short(self, node):
        node.trouble = True
        node.control.set(short_of=self.rng.randint(1, 5))
        time.sleep(self.rng.random() * 0.5)
        node.control.set(short_of=0)

    def locked(self, node):
        """Another program holds the file, for longer than hearsay waits for it."""
        if not node.running() or not node.started():
            return
        node.trouble = True
        other = sqlite3.connect(node.store, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(self.rng.random() * 7)
            other.execute("ROLLBACK")
        except sqlite3.OperationalError:
            pass
        other.close()

    def second(self, node):
        """A second hearsay on the store is refused, with the pid of the first."""
        if not node.running() or not node.started():
            return
        out = subprocess.run([lib.HEARSAY, "run", "-c", node.config], capture_output=True,
                             text=True, timeout=20, check=False)
        pid = str(node.process.pid)
        if node.running() and (out.returncode == 0 or "in use by process " + pid not in out.stderr):
            self.bad.append("a second hearsay was not refused: %d %s"
                            % (out.returncode, out.stderr))


def main():
    given = harness.options()
    tap = lib.Tap()
    with harness.Folder() as folder:
        h = Sqlite(tap, folder, given)
        h.node("one", folder / "hearsay.db", ("one.test", "two.test"), RATE)
        h.run((
            (5, "kill -9", h.kill),
            (10, "ended in a call", h.die),
            (3, "ended while it starts", h.die_at_start),
            (2, "killed again and again", h.kill_often),
            (2, "killed, then power cut", h.cut_later),
            (6, "disk in trouble", h.trouble),
            (2, "short writes", h.short),
            (3, "clock jumps", h.clock),
            (3, "SIGTERM", h.term),
            (1, "stands still", h.stop),
            (0.5, "store locked by another", h.locked),
            (3, "rotation asked for", h.rotate),
            (2, "rotations while it is dead", h.rotate_unseen),
            (1, "an appservice moves", h.move),
            (8, "receivers", h.receiver),
            (1, "second hearsay", h.second),
            (4, "queue by hand", h.by_hand),
            (1.5, "an appservice comes or goes", h.come_or_go),
            (1.5, "replay --into", h.fill),
        ))
        h.judge()
    tap.done()


main()
