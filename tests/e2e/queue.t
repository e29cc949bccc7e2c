#!/usr/bin/env python3
"""What waits is shown, held, set aside, retried, saved and discarded by hand.

With the daemon running, which notices at once, and without it.
"""
import json
import os

import lib
import postgres


def queue(config, *args):
    return lib.hearsay("queue", args[0], "-c", config, *args[1:])


def status(config):
    out = lib.hearsay("status", "-c", config, "--json")
    return json.loads(out.stdout)


def audit(config):
    """The queue of the one appservice; None before it has one."""
    queues = [q for q in status(config)["appservices"] if q["id"] == "audit"]
    return queues[0] if queues else None


def exported(config, *args):
    return [json.loads(line) for line in queue(config, "export", *args).stdout.split("\n") if line]


class Place:
    """A log with the capture in it, a receiver that is not up, and a run."""

    def __init__(self, folder, *options, **more):
        self.folder = folder
        data, _ = lib.capture("synapse-text")
        self.want = lib.replay_listed(data, folder)
        self.log, self.config = folder / "homeserver.log", folder / "hearsay.conf"
        with open(self.log, "wb") as f:
            f.write(data)
        self.receiver = lib.Receiver(folder, *options)
        lib.write_config(self.config, folder, self.receiver.registration, self.log, **more)
        self.run = None

    def start(self):
        starts = self.run.said().count("started") if self.run else 0
        self.run = lib.Run(self.config, self.folder / "run.log")
        lib.wait_for(lambda: self.run.said().count("started") > starts or
                     not self.run.running(), "the start")

    def waits(self):
        """Until all of the log waits."""
        lib.wait_until_read(self.config, self.log)
        return lib.wait_for(lambda: (audit(self.config) or {}).get("waiting") == len(self.want),
                            "%d events in the queue" % len(self.want))

    def arrive(self, tap, name):
        lib.wait_for(lambda: len(self.receiver.events()) >= len(self.want) or
                     not self.run.running(), "%d events" % len(self.want))
        tap.equal([lib.same(e) for e in self.receiver.events()], self.want, name)


def hold_and_release(tap, **more):
    with lib.Folder() as folder:
        place = Place(folder, **more)
        place.start()
        place.waits()
        out = queue(place.config, "list")
        tap.ok(out.returncode == 0 and "appservice audit: %d waiting" % len(place.want) in
               out.stdout and "hs-" in out.stdout, "list says what waits", out)
        items = exported(place.config)
        events = [e for i in items if i["state"] == "waiting"
                  for e in i["body"]["m.synthetic_events"]]
        events += [i for i in items if i["state"] == "queued"]
        tap.equal([lib.same(e) for e in events], place.want, "export has all of it, in order")
        txn = items[0]["txn"]
        out = queue(place.config, "show", "audit", txn)
        tap.ok(out.returncode == 0 and txn in out.stdout and '"m.synthetic_events"' in out.stdout,
               "show has the body of a transaction", out)

        out = queue(place.config, "hold", "audit")
        tap.equal(out.returncode, 0, "hold while run runs")
        place.receiver.start()
        tap.ok(audit(place.config)["held_ms"], "status says that the queue is on hold")
        tap.equal(place.run.terminate(), 0, "run ends")
        place.start()
        out = queue(place.config, "retry", "audit")
        tap.equal((out.returncode, place.receiver.events()), (0, []),
                  "neither a restart nor a retry ends a hold")
        tap.equal(queue(place.config, "release", "audit").returncode, 0, "release")
        place.arrive(tap, "after that, everything arrives in order")
        lib.wait_for(lambda: audit(place.config)["waiting"] == 0, "an empty queue")
        tap.equal(place.run.terminate(), 0, "run ends cleanly")
        place.receiver.stop()

        out = lib.hearsay("history", "-c", place.config, "--json")
        told = [json.loads(line) for line in out.stdout.split("\n") if line]
        tap.equal([lib.same(e) for e in told], place.want, "history has what was accepted")
        user = json.loads(place.want[0][1])["user_id"]
        out = lib.hearsay("history", "-c", place.config, "--user", user)
        tap.equal(out.stdout.count(" of " + user + "\n"),
                  sum(json.loads(e[1])["user_id"] == user for e in place.want),
                  "history --user has that user's alone, in words")
        out = lib.hearsay("history", "-c", place.config, "--since", "2100-01-01", "--json")
        tap.equal((out.returncode, out.stdout), (0, ""), "history --since a time to come is empty")


def dead_letters(tap, **more):
    with lib.Folder() as folder:
        place = Place(folder, "--fail", "400:2", send="set_aside_tries = 2; set_aside_after = 0;", **more)
        place.receiver.start()
        place.start()
        lib.wait_for(lambda: (audit(place.config) or {}).get("dead_letters") == 1 and
                     audit(place.config)["waiting"] == 0, "a dead letter and an empty queue")
        dead = exported(place.config)
        tap.equal(len(dead), 1, "export has the dead letter")
        tap.ok(dead[0]["state"] == "dead" and dead[0]["status"] == 400 and
               dead[0]["attempts"] == 2 and "M_UNKNOWN" in dead[0]["error"],
               "with the answer that it got", dead)
        count = dead[0]["events"]
        tap.equal(len(place.receiver.events()), len(place.want) - count, "the queue went on")
        out = queue(place.config, "retry", "audit", "nonsense")
        tap.ok(out.returncode == 1 and "nonsense" in out.stderr, "retry of an unknown one", out)
        tap.equal(queue(place.config, "retry", "--dead", "audit").returncode, 0, "retry --dead")
        lib.wait_for(lambda: len(place.receiver.events()) == len(place.want), "the dead letter")
        tap.equal(sorted(lib.same(e) for e in place.receiver.events()), sorted(place.want),
                  "nothing is lost, nothing came twice")
        lib.wait_for(lambda: audit(place.config)["dead_letters"] == 0, "no dead letter")
        tap.equal(place.run.terminate(), 0, "run ends cleanly")
        place.receiver.stop()


def removed_appservice(tap, **more):
    with lib.Folder() as folder:
        place = Place(folder, **more)
        place.start()
        place.waits()
        tap.equal(place.run.terminate(), 0, "run ends cleanly")
        os.remove(place.receiver.registration)
        with open(place.config, encoding="utf-8") as f:
            text = f.read()
        with open(place.config, "w", encoding="utf-8") as f:
            f.write("".join(line for line in text.splitlines(True)
                            if not line.startswith("registrations")))
        place.start()
        tap.equal(audit(place.config)["waiting"], len(place.want),
                  "the queue of a removed appservice is kept")
        tap.ok(audit(place.config)["registered"] is False, "status says that it is removed")
        out = lib.hearsay("check", "-c", place.config)
        tap.ok("not registered any more" in out.stderr, "so does check", out)
        out = queue(place.config, "discard", "audit")
        tap.ok(out.returncode == 2 and "--yes" in out.stderr, "discard asks for --yes", out)
        tap.equal(audit(place.config)["waiting"], len(place.want), "and does nothing without")
        out = queue(place.config, "discard", "--yes", "audit")
        tap.ok(out.returncode == 0 and str(len(place.want)) in out.stdout, "discard --yes", out)
        tap.equal((audit(place.config)["waiting"], exported(place.config)), (0, []),
                  "nothing is left of it")
        tap.ok("audit" not in lib.hearsay("status", "-c", place.config).stdout,
               "status says no more of it")
        tap.equal(place.run.terminate(), 0, "run ends cleanly")


def without_a_daemon(tap, **more):
    with lib.Folder() as folder:
        place = Place(folder, **more)
        place.start()
        place.waits()
        place.run.kill()
        txn = exported(place.config)[0]["txn"]
        tap.equal(queue(place.config, "hold", "audit", txn).returncode, 0,
                  "hold of a transaction without a daemon")
        items = exported(place.config, "audit", txn)
        tap.ok(len(items) == 1 and items[0]["state"] == "dead", "it is set aside", items)
        place.receiver.start()
        place.start()
        lib.wait_for(lambda: audit(place.config)["waiting"] == 0, "the others")
        tap.equal(len(place.receiver.events()), len(place.want) - items[0]["events"],
                  "the others are delivered")
        tap.equal(queue(place.config, "release", "audit", txn).returncode, 0, "release of it")
        lib.wait_for(lambda: len(place.receiver.events()) == len(place.want), "the rest")
        tap.equal(place.run.terminate(), 0, "run ends cleanly")
        place.receiver.stop()
        for args in (("hold", "nobody"), ("show", "nobody"), ("show", "audit", "nothing")):
            out = queue(place.config, *args)
            tap.ok(out.returncode == 1 and "no" in out.stderr, "queue " + " ".join(args), out)
        for args in ((), ("nonsense",), ("hold",), ("list", "a", "b", "c")):
            tap.equal(lib.hearsay("queue", *args).returncode, 2, "wrong usage: " + " ".join(args))


def damaged_store(tap):
    with lib.Folder() as folder:
        place = Place(folder)
        place.start()
        place.waits()
        store = lambda action: lib.hearsay("store", action, "-c", place.config)
        tap.equal(store("check").returncode, 0, "store check beside run")
        tap.equal([i["txn"] for i in exported(place.config) if "txn" in i],
                  [json.loads(line)["txn"] for line in store("export").stdout.split("\n")
                   if '"txn"' in line], "store export has what queue export has")
        out = store("rebuild")
        tap.ok(out.returncode == 1 and str(place.run.process.pid) in out.stderr,
               "store rebuild is refused while run runs", out)
        tap.equal(place.run.terminate(), 0, "run ends cleanly")

        path = folder / "hearsay.db"
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) * 7 // 8 // 4096 * 4096)
        out = store("check")
        tap.ok(out.returncode == 1 and "rebuild" in out.stderr, "store check finds damage", out)
        run = lib.hearsay("run", "-c", place.config)
        tap.ok(run.returncode == 1 and "store rebuild" in run.stderr,
               "run refuses a damaged store and says the way on", run)
        out = store("rebuild")
        tap.ok("carried over: deliveries" in out.stdout and
               (out.returncode == 0) == (out.stderr == ""), "store rebuild", out)
        tap.equal(store("check").returncode, 0, "the new store is sound")
        tap.equal(sum(".damaged-" in name and not name.endswith("-wal")
                      for name in os.listdir(folder.path)), 1, "the old one is kept")
        place.receiver.start()
        place.start()
        lib.wait_for(lambda: audit(place.config)["waiting"] == 0, "an empty queue")
        got = [lib.same(e) for e in place.receiver.events()]
        tap.ok(got and set(got) <= set(place.want), "what could be read is delivered",
               "%d arrived\n%s%s" % (len(got), out.stdout, out.stderr))
        tap.equal(place.run.terminate(), 0, "run ends cleanly")
        place.receiver.stop()


def main():
    tap = lib.Tap()
    damaged_store(tap)
    kinds = (hold_and_release, dead_letters, removed_appservice, without_a_daemon)
    for kind in kinds:
        kind(tap)
    if postgres.reason():
        tap.ok(True, "the same in PostgreSQL # SKIP " + postgres.reason())
        tap.done()
    server = postgres.Server()
    try:
        server.start()
        for kind in kinds:
            tap.say("the same in PostgreSQL")
            kind(tap, store=server.url)
            server.sql("DROP SCHEMA hearsay CASCADE")
    finally:
        server.remove()
    tap.done()


main()
