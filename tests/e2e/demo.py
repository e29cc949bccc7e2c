#!/usr/bin/env python3
"""Watch events arrive that hearsay tells from a log which is being written.

A real Synapse log is written again, in pieces of random size, and rotated on
the way; `hearsay run` follows it and delivers to `hearsay listen`.  Ends by
itself with a count against the truth, and status 0 if all that the log can
tell arrived once and nothing false did.
"""
import collections
import datetime
import sys
import threading

import lib
import score

SECONDS = 20
ROTATIONS = 4
DIM, BOLD, PLAIN = ("\033[2m", "\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class Screen:
    """Lines from two threads, one at a time."""

    def __init__(self):
        self.lock = threading.Lock()

    def say(self, text=""):
        with self.lock:
            print(text, flush=True)

    def event(self, e):
        when = datetime.datetime.fromtimestamp(e["ts"] / 1000, datetime.timezone.utc)
        content = e["content"]
        more = content.get("device_id", "")
        if content.get("soft_logout"):
            more += " (soft)"
        self.say("  %s  %-20s %-24s %s" % (when.strftime("%H:%M:%S.%f")[:-3], e["type"],
                                         content.get("user_id", ""), more))


def watch(folder, screen, data, want):
    """The events that arrived while data was written, and what run said."""
    log, config = folder / "homeserver.log", folder / "hearsay.conf"
    receiver = lib.Receiver(folder, types=score.TYPES, on_event=screen.event)
    lib.write_config(config, folder, receiver.registration, log)
    screen.say("  the homeserver writes   %s" % log)
    screen.say("  hearsay run follows it  -c %s" % config)
    screen.say("  hearsay listen          receives at http://127.0.0.1:%d" % receiver.port)
    screen.say()
    receiver.start()
    run = lib.Run(config, folder / "run.log").await_start()
    feeder = lib.Feeder(data, log, lib.random.Random(), SECONDS)
    feeder.rotate("rename", ROTATIONS)
    feeder.on_rotation = lambda n: screen.say(
        "%s  -- homeserver.log is rotated (%d of %d) --%s" % (DIM, n, ROTATIONS, PLAIN))
    try:
        feeder.run()
        lib.wait_for(lambda: len(receiver.events()) >= want or not run.running(),
                     "the last events", 20)
    except TimeoutError:
        pass
    finally:
        feeder.close()
        status = run.terminate() if run.running() else run.process.wait()
        receiver.stop()
    return receiver.events(), status, run.said()


def main():
    screen = Screen()
    data, acts = lib.capture("synapse-text")
    want = sum(1 for a in acts if not a.get("unnamed") for _ in a["events"])
    with lib.Folder() as folder:
        events, status, said = watch(folder, screen, data, want)
    twice = len(events) - len(set(map(lib.same, events)))
    result = score.Score(events, acts)
    told = len(result.exact)

    screen.say()
    screen.say(BOLD + "  %-22s %6s %10s %8s %6s" % (
        "events", "true", "in the log", "arrived", "false") + PLAIN)
    for type_, true, seen, arrived, _, false in result.rows():
        screen.say("  %-22s %6d %10d %8d %6d" % (type_, true, seen, arrived, false))
    screen.say()
    screen.say("  %d of the %d events that the log can tell arrived in %d transactions; "
               "%d false, %d twice." % (told, want, len(collections.Counter(
                   e["txn"] for e in events)), len(result.false), twice))
    unnamed = sum(1 for d in result.missed if not d.open)
    if unnamed:
        screen.say("  %d registrations asked for no login: Synapse logs them without a name."
                   % unnamed)
    good = result.complete() and twice == 0 and status == 0
    if not good:
        for line in result.faults():
            screen.say("  " + line)
        screen.say("hearsay run ended with %d and said:" % status)
        screen.say(said)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
