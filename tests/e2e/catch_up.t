#!/usr/bin/env python3
"""A backlog: several logs advance in turn, and what is told is sent meanwhile."""
import datetime
import os

import lib

PACK = os.path.join(lib.SOURCE, "tests", "torture", "pack")
MIB = 1 << 20
SIZE = 48  # MiB of each large log, with one event in each MiB
LOGS = 3
TURN = 8  # by so many MiB may one log be ahead of another


def line(log, number):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return b"%sZ INFO torture[r-%d] @log%d:%s told at once: %d, and that is all\n" % (
        now.encode(), number, log, lib.SERVER.encode(), number)


def write_logs(folder):
    """LOGS large ones, and one of a single line, the last to be configured."""
    filler = (b"2026-11-23T09:46:28.829Z DEBUG other[r-0] %s\n" % (b"x" * 960)) * (MIB // 1024)
    paths = [folder / ("%d.log" % n) for n in range(LOGS + 1)]
    for n, path in enumerate(paths):
        with open(path, "wb") as f:
            for number in range(SIZE if n < LOGS else 1):
                f.write(line(n, number))
                f.write(filler if n < LOGS else b"")
    return paths


def arrivals(folder, paths):
    """(log, number, txn) of each event, as it came."""
    receiver = lib.Receiver(folder, types=("m.user.login",))
    receiver.start()
    config = folder / "hearsay.conf"
    with open(config, "w", encoding="utf-8") as f:
        f.write("""store = "%s"; patterns = [ "%s" ]; registrations = [ "%s" ];
servers = ( { name = "%s"; pack = "torture"; timezone = "UTC"; logs = ( %s ); } );
""" % (folder / "hearsay.db", PACK, receiver.registration, lib.SERVER,
            ", ".join('{ path = "%s"; start = "beginning"; }' % p for p in paths)))
    run = lib.Run(config, folder / "run.log")
    try:
        lib.wait_for(lambda: len(receiver.events()) >= LOGS * SIZE + 1 or not run.running(),
                     "all events")
    finally:
        run.terminate()
        receiver.stop()
    return [(int(e["content"]["user_id"][4]), int(e["content"]["device_id"]), e["txn"])
            for e in receiver.events()]


def furthest_ahead(got):
    """By how many MiB was a large log at most ahead of another, both unfinished?"""
    told, most = [0] * LOGS, 0
    for log, number, _ in got:
        if log < LOGS:
            told[log] = number + 1
            most = max(most, max(told) - min(told))
    return most


def main():
    tap = lib.Tap()
    with lib.Folder() as folder:
        got = arrivals(folder, write_logs(folder))
    for log in range(LOGS + 1):
        tap.equal([number for which, number, _ in got if which == log],
                  list(range(SIZE if log < LOGS else 1)),
                  "log %d: each event once and in order" % log)
    ahead = furthest_ahead(got)
    tap.ok(ahead <= TURN, "the large logs advance in turn", "one was %d MiB ahead" % ahead)
    place = [which for which, _, _ in got].index(LOGS)
    tap.ok(place <= LOGS * TURN, "a small log does not wait for them", "it was event %d" % place)
    # Were nothing sent before all is read, the first would be as full as one can be.
    first = sum(1 for _, _, txn in got if txn == got[0][2])
    tap.ok(first <= LOGS * SIZE // 2, "sending goes on meanwhile", "%d events at once" % first)
    tap.say("%d MiB ahead, the small one was event %d, %d events in the first transaction"
            % (ahead, place, first))
    tap.done()


main()
