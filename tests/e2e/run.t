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
        run = lib.Run(config, folder / "run.log").await_start()
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


AT = "2026-10-25 %s,000 - synapse.%s - 1 - INFO - POST-%d - "


def login(clock, number, device):
    user = "@ada:" + lib.SERVER
    return [(AT + "Logging in user %s on device %s\n") % (clock, "handlers.auth", number, user, device),
            (AT + "::1 - 8008 - {%s} Processed request: 0.1sec/0.0sec (0.0sec, 0.0sec) (0.0sec/0.0sec/1) "
             '1B 200 "POST /_matrix/client/v3/login HTTP/1.1" "x" [0 dbevts]\n')
            % (clock, "access.http.8008", number, user)]


def twice_the_same_hour(tap, name, before, times):
    """Stopped in the hour that comes twice in Berlin, and begun again in it."""
    with lib.Folder() as folder:
        log = folder / "homeserver.log"
        config = folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log, timezone="Europe/Berlin",
                         extra="limits = { request_timeout = 7200; };")
        receiver.start()
        for lines in (before, login("02:11:00", 300, "AFTER")):
            with open(log, "a", encoding="utf-8") as f:
                f.writelines(lines)
            run = lib.Run(config, folder / "run.log")
            try:
                lib.wait_until_read(config, log)
                if lines is not before:
                    lib.wait_for(lambda: len(receiver.events()) >= len(times), "events")
            except TimeoutError as e:
                tap.say(e)
            run.terminate()
        receiver.stop()
        tap.equal([e["ts"] // 60000 - 29881440 for e in receiver.events()], times, name)


def check_autumn(tap):
    """In minutes since midnight, UTC."""
    first = login("02:55:00", 1, "FIRST")
    second = login("02:10:00", 200, "SECOND")
    twice_the_same_hour(tap, "the second of two hours, over a restart", first + second, [55, 70, 71])
    waits = AT % ("02:30:00", "rest.client.login", 50) + "Got login request with identifier: {}\n"
    twice_the_same_hour(tap, "and with a request that waits since the first", [waits] + first + second,
                        [55, 70, 71])


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
    check_autumn(tap)
    tap.done()


main()
