#!/usr/bin/env python3
"""kill -9 at twenty random moments, the receiver away for a while.

Every seventh answer of the receiver is lost on its way, too.

Every event arrives, none twice, in the order of the log, and no transaction id
ever has two bodies.
"""
import collections
import time

import lib

KILLS = 20


def main():
    tap = lib.Tap()
    rng = lib.seeded(tap)
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder:
        want = lib.replay_listed(data, folder)

        log = folder / "homeserver.log"
        config = folder / "hearsay.conf"
        receiver = lib.Receiver(folder, "--lose-answer", "7")
        lib.write_config(config, folder, receiver.registration, log)
        receiver.start()
        run = lib.Run(config, folder / "run.log").await_start()
        killed = []

        def kill():
            nonlocal run
            # Not only at the moment of a write: a little later, too.
            time.sleep(rng.random() * 0.15)
            killed.append(run.kill())
            run = lib.Run(config, folder / "run.log")

        feeder = lib.Feeder(data, log, rng, seconds=10)
        feeder.rotate("rename", 3)
        feeder.rotate("late", 2)
        for _ in range(KILLS):
            feeder.at(kill)
        away = sorted(rng.sample(range(len(data)), 2))
        feeder.at(receiver.stop, away[0])
        feeder.at(receiver.start, away[1])
        try:
            feeder.run()
            lib.wait_for(lambda: len(receiver.events()) >= len(want) or not run.running(),
                         "%d events" % len(want))
        except TimeoutError as e:
            tap.say(e)
        finally:
            feeder.close()
            status = run.terminate()
            receiver.stop()

        got = [lib.same(e) for e in receiver.events()]
        good = tap.equal(killed, [-9] * KILLS, "%d kills, each while it ran" % KILLS)
        good &= tap.equal(status, 0, "SIGTERM ends it cleanly at last")
        good &= tap.equal(dict(collections.Counter(want) - collections.Counter(got)), {},
                          "all of %d events arrived" % len(want))
        good &= tap.equal(dict(collections.Counter(got) - collections.Counter(want)), {},
                          "none twice, none but these")
        good &= tap.ok(got == want, "in the order of the log")
        for txn, bodies in receiver.transactions().items():
            if any(body != bodies[0] for body in bodies):
                good = tap.ok(False, "transaction %s keeps its body" % txn, bodies)
        # The receiver ends with 1 where an id came again with other bytes.
        good &= tap.equal(receiver.statuses, [0, 0], "no transaction id has two bodies")
        if not good:
            tap.say(run.said()[-6000:])
            tap.say(receiver.program.said()[-2000:])
    tap.done()


main()
