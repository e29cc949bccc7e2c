#!/usr/bin/env python3
"""run into listen: what arrives is what replay tells, in the same order.

The log is written in pieces of random size and rotated meanwhile; once in the
middle the daemon is stopped and started again.
"""
import lib


def follow(tap, name, kinds, rng):
    data, _ = lib.capture(name)
    with lib.Folder() as folder:
        want = lib.replay_listed(data, folder)

        log = folder / "homeserver.log"
        config = folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log)
        receiver.start()
        run = lib.Run(config, folder / "run.log")
        statuses = []

        def restart():
            nonlocal run
            statuses.append(run.terminate())
            run = lib.Run(config, folder / "run.log")

        feeder = lib.Feeder(data, log, rng, seconds=8)
        for kind, count in kinds:
            feeder.rotate(kind, count, lambda: lib.wait_until_read(config, log))
        feeder.at(restart)
        try:
            feeder.run()
            lib.wait_for(lambda: len(receiver.events()) >= len(want) or not run.running(),
                         "%d events" % len(want))
        except TimeoutError as e:
            tap.say(e)
        finally:
            feeder.close()
            statuses.append(run.terminate())
            receiver.stop()

        got = [lib.same(e) for e in receiver.events()]
        label = "%s, %s" % (name, " and ".join(k for k, _ in kinds))
        if not tap.ok(got == want, "%s: %d events in the order of the log" % (label, len(want)),
                      "%d arrived" % len(got)):
            tell_difference(tap, got, want)
            tap.say(run.said()[-4000:])
        tap.equal(statuses, [0, 0], label + ": SIGTERM ends cleanly")


def tell_difference(tap, got, want):
    for event in want:
        if event not in got:
            tap.say("missing %r" % (event,))
    for event in sorted(set(got)):
        if got.count(event) > want.count(event):
            tap.say("%d times instead of %d: %r" % (got.count(event), want.count(event), event))


def main():
    tap = lib.Tap()
    rng = lib.seeded(tap)
    follow(tap, "synapse-text", [("rename", 4)], rng)
    follow(tap, "synapse-text", [("late", 3), ("rename", 2)], rng)
    follow(tap, "synapse-text", [("copytruncate", 3)], rng)
    follow(tap, "synapse-terse-json", [("rename", 4)], rng)
    tap.done()


main()
