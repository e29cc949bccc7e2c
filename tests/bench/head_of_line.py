#!/usr/bin/env python3
"""Does an appservice that hangs delay the others?

The time from a line's writing until the event's transaction is taken, at three
appservices, while a fourth hangs and while it does not: by turns, so that what
the machine does meanwhile concerns both.  Prints both and their ratio; nothing
is asserted, since a ratio of such times is the machine's, too.

HEARSAY=build/hearsay tests/bench/head_of_line.py [ROUNDS]
"""
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))

import harness  # noqa: E402
from harness import lib  # noqa: E402
from receiver import Receiver  # noqa: E402

LINE_S = 0.001  # between two lines


class Bench:
    def __init__(self, folder):
        self.log = harness.Log(folder, "bench.test", 0, 1)
        self.others = [Receiver(n, folder, harness.TYPES, random.Random(0))
                       for n in ("first", "second", "third")]
        self.hanging = Receiver("hanging", folder, harness.TYPES, random.Random(0))
        config = folder / "hearsay.conf"
        with open(config, "w", encoding="utf-8") as f:
            f.write("""store = "%s";
patterns = [ "%s" ];
registrations = [ %s ];
servers = ( { name = "bench.test"; pack = "synapse"; timezone = "UTC";
    logs = ( { path = "%s"; start = "beginning"; } ); } );
""" % (folder / "hearsay.db", lib.PATTERNS,
                ", ".join('"%s"' % r.registration for r in self.others + [self.hanging]),
                self.log.path))
        self.run = lib.Run(config, folder / "run.log")
        lib.wait_for(lambda: "started" in self.run.said(), "the start")
        self.rounds = 0

    def round(self, hangs):
        """The latencies of one time through the capture, in seconds."""
        self.hanging.set("hang" if hangs else "take")
        before = [len(r.taken) for r in self.others]
        total = len(self.others[0].events())
        data = self.log.later(self.rounds)
        self.rounds += 1
        written = {}  # time stamp: when the last line with it was written
        with open(self.log.path, "ab", buffering=0) as f:
            for line in data.splitlines(True):
                f.write(line)
                written[line[11:23]] = time.monotonic()
                time.sleep(LINE_S)
        want = total + self.count(data)
        lib.wait_for(lambda: all(r.count() >= want for r in self.others), "all events")
        out = []
        for receiver, n in zip(self.others, before):
            for at, _, events in receiver.taken[n:]:
                for event in events:
                    stamp = time.strftime("%H:%M:%S", time.gmtime(event["ts"] // 1000))
                    key = ("%s,%03d" % (stamp, event["ts"] % 1000)).encode()
                    out.append(at - written[key])
        return out

    def count(self, data):
        with open(self.log.whole, "wb") as f:
            f.write(data)
        return len(self.log.events())


def tell(name, times):
    times.sort()
    print("%-28s %6d events  median %6.2f ms  95 %% %6.2f ms  99 %% %6.2f ms"
          % (name, len(times), 1000 * statistics.median(times),
             1000 * times[len(times) * 95 // 100], 1000 * times[len(times) * 99 // 100]))
    return statistics.median(times), times[len(times) * 95 // 100]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    times = {False: [], True: []}
    with lib.Folder() as folder:
        bench = Bench(folder)
        bench.round(False)  # all is warm behind this
        for _ in range(rounds):
            for hangs in (False, True):
                times[hangs] += bench.round(hangs)
        bench.run.kill()
    without, late_without = tell("without one that hangs", times[False])
    with_one, late_with = tell("with one that hangs", times[True])
    print("ratio: median %.2f, 95 %% %.2f" % (with_one / without, late_with / late_without))


main()
