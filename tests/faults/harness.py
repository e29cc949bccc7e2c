"""Faults of every kind at random, and whether anything was lost or repeated.

One or several real `hearsay run` follow logs that grow and are rotated, and send
to receivers that misbehave; disks and clocks fail by the shim.  Then all is
healed, and what each receiver took is compared with what was written.

What is random comes from one seed, printed first.  The order of the processes is
the machine's, so that a seed repeats the faults, not their very moments.

HEARSAY_SEED=N           the seed
HEARSAY_FAULTS_SECONDS=N how long, before all is healed (default 60)
HEARSAY_FAULTS_KEEP=1    keep the folder of a run that failed
"""
import argparse
import collections
import os
import random
import shutil
import signal
import time


from judge import Absence, Case
from logs import KINDS, Log, of_event
from node import FOR_EVER, SHIM, Node, lib
from receiver import Receiver, certificate

SETTLE = 60  # seconds without anything new, after all was healed, that mean "stuck"
UNDER_WAY = 2.5  # seconds; a request ends sooner

DIE_BEFORE, DIE_AFTER, DIE_WITHIN, CUT_POWER = 1, 2, 3, 4
WRITES, SYNCS, TRUNCATES, OPENS, READS = 1, 2, 4, 8, 16
FORGETS_NOTHING, FORGETS_TO_SYNC, FORGETS_ALL = 0, 1, 2


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("HEARSAY_FAULTS_SECONDS") or 60))
    parser.add_argument("--cycles", type=int, default=None, help="so many, however long")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    if given.seed is not None:
        os.environ["HEARSAY_SEED"] = str(given.seed)
    return given


class Folder(lib.Folder):
    """Kept where the run failed, if that is asked for."""

    def __init__(self):
        self.bad = True  # until it is known not to be

    def __exit__(self, *unused):
        if self.bad and os.environ.get("HEARSAY_FAULTS_KEEP"):
            print("# kept: " + self.path, flush=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


class Harness:
    """
    Receivers: one is fast, one hangs, one answers 500, one is gone, one does all that
    receivers do, one refuses some bodies, one is not always registered.  How each is
    reached is drawn.  A harness has nodes, and faults by name; each fault is a
    function of a node.
    """

    NAMES = ("fast", "hanging", "failing", "absent", "mixed", "refusing", "guest")

    def __init__(self, tap, folder, given):
        self.tap, self.folder, self.given = tap, folder, given
        self.rng = lib.seeded(tap)
        self.counts = collections.Counter()
        self.cycles = 0
        self.bad = []
        self.nodes = []
        tls = certificate(folder)
        wires = ["tcp", "tls", "legacy", "tcp", "tls"]
        self.rng.shuffle(wires)
        wires[self.rng.randint(1, 4):0] = ["unix"]  # fast is found by its port
        wires += ["tcp"] * (len(self.NAMES) - len(wires))
        tap.say("reached by: " + ", ".join("%s %s" % pair for pair in zip(self.NAMES, wires)))
        self.receivers = [Receiver(name, folder, wire, random.Random(self.rng.random()), tls)
                          for name, wire in zip(self.NAMES, wires)]
        (self.fast, self.hanging, self.failing, self.absent, self.mixed, self.refusing,
         self.guest) = self.receivers
        self.mixed.mode, self.refusing.mode = "mixed", "poison"
        self.cases = {r.name: Case(r) for r in self.receivers}
        self.registered = list(self.receivers)
        # What the guest misses is filled in where places are never forgotten.
        self.fills = self.rng.random() < 0.5
        self.cases["guest"].filled = self.fills
        self.keep = FOR_EVER if self.fills else self.rng.choice((1, 10, 604800))

    def node(self, name, store, servers, rate, queue=None, more=""):
        queue = queue or self.rng.choice((3000, 1000000))
        node = Node(self.folder, name, store,
                    [Log(self.folder, s, self.rng.random(), rate) for s in servers],
                    "queue = %d; keep_accepted = %d;" % (queue, self.keep), more)
        node.configure(self.registered)
        self.nodes.append(node)

    def logs(self):
        return [log for node in self.nodes for log in node.logs]

    def ask(self, ok, what):
        if not ok:
            self.bad.append(what)

    # ---- faults of processes

    def kill(self, node):
        time.sleep(self.rng.random() * 0.15)
        node.kill()

    def kill_often(self, node):
        """Again and again, while it starts and recovers from the end before."""
        for _ in range(self.rng.randint(2, 6)):
            node.kill()
            node.tend()
            time.sleep(self.rng.random() * self.rng.choice((0.05, 0.4)))

    def term(self, node):
        node.terminate()

    def stop(self, node):
        """It stands still, as a machine that is moved does."""
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.random() * 2)
        node.process.send_signal(signal.SIGCONT)

    # ---- of logs

    def rotate(self, node):
        log = self.rng.choice(node.logs)
        if not self.fills and len(log.pieces()) > 12:
            logs = node.status().get("logs", [])
            if logs and all(entry["behind"] == 0 for entry in logs):
                log.forget()
        log.rotate(self.rng.choice(KINDS))

    def rotate_unseen(self, node):
        """It is dead while its logs go on, and are rotated more than once."""
        node.kill()
        for _ in range(self.rng.randint(1, 3)):
            self.rng.choice(node.logs).rotate(self.rng.choice(KINDS))
            time.sleep(self.rng.random() * 0.5)

    # ---- of the clock

    def clock(self, node):
        seconds = self.rng.choice((0, 0, 1, -1, 90, -90, 3700, -3700, 86400, -86400,
                                   9 * 86400, -9 * 86400, 400 * 86400, -400 * 86400))
        node.control.set(clock_ms=seconds * 1000 + self.rng.randint(-999, 999))

    # ---- of receivers

    def receiver(self, _node):
        one, modes = self.rng.choice((
            (self.hanging, ("hang", "take, hang", "take")),
            (self.failing, ("500", "500", "take")),
            (self.absent, ("gone", "gone", "take")),
            (self.refusing, ("poison", "poison", "403", "take")),
            (self.mixed, ("mixed", "mixed", "take, cut", "take, cut within", "take slowly",
                          "401", "429", "503"))))
        one.set(self.rng.choice(modes))
        self.counts["receiver " + one.name + ": " + one.mode] += 1

    def move(self, _node):
        """An appservice gets another url; what waits goes there."""
        for node in self.nodes:
            node.kill()
        self.rng.choice(self.receivers).move()

    # ---- of registrations

    def register(self):
        """All start again with the appservices that are registered now."""
        for node in self.nodes:
            node.kill()
            node.configure(self.registered)

    def places(self, others_have=False):
        """How far each log is: written, or (others_have) taken by one that is never gone."""
        if not others_have:
            return {log.server: len(log.told) for log in self.logs()}
        has = set().union(*(r.has() for r in self.receivers if r is not self.guest))
        place = {log.server: log.place for log in self.logs()}
        out = dict.fromkeys(place, 0)
        for server, number in has:
            out[server] = max(out[server], place[server][number] + 1)
        return out

    def come_or_go(self, _node):
        """The guest is registered no more, or again; what waits for it is kept."""
        absences = self.cases["guest"].absences
        if self.guest in self.registered:
            reached = self.places(others_have=True)
            if absences and any(reached[s] <= n for s, n in absences[-1].back.items()):
                return  # it was not back for long enough
            self.leave()
        else:
            self.come_back()

    def leave(self):
        self.registered.remove(self.guest)
        sure = self.places(others_have=True)
        self.register()
        self.cases["guest"].absences.append(Absence(sure, self.places()))
        self.counts["an appservice is removed"] += 1
        self.tend()
        self.look_at_removed()

    def look_at_removed(self):
        node = self.nodes[0]
        node.wait_started()
        time.sleep(0.5)  # what was under way when its sender was killed
        before = self.guest.requests
        queues = {q["id"]: q for q in node.status().get("appservices", [])}
        self.ask(not queues.get("guest", {}).get("registered", False),
                 "status says that the guest is registered")
        time.sleep(self.rng.random())
        self.ask(self.guest.requests == before, "the guest was sent to after it left")

    def come_back(self):
        absence = self.cases["guest"].absences[-1]
        absence.sure_gone = self.places(others_have=True)
        for node in self.nodes:
            node.kill()
        absence.back = self.places()
        self.registered.append(self.guest)
        self.register()
        self.counts["an appservice is added"] += 1

    def fill(self, node):
        """replay --into the guest, with the daemon or without, to its end or not."""
        if not self.fills or self.guest not in self.registered:
            return
        if node.beside is None:
            node.backfill("guest", self.rng.choice(node.logs))
        elif self.rng.random() < 0.5:
            node.end_beside()
            self.counts["replay --into: killed"] += 1

    # ---- by hand

    def by_hand(self, node):
        one = self.rng.choice(self.receivers)
        what = self.rng.choice((self.retry, self.hold_shortly, self.hold, self.release,
                                self.set_aside, self.discard, self.discard))
        if what(node, one):
            self.counts["by hand: " + what.__name__] += 1

    @staticmethod
    def retry(node, one):
        return node.queue("retry", one.name).returncode == 0 and \
            node.queue("retry", "--dead", one.name).returncode == 0

    @staticmethod
    def hold_shortly(node, one):
        return node.queue("hold", one.name).returncode == 0 and \
            node.queue("release", one.name).returncode == 0

    @staticmethod
    def release(node, one):
        return node.queue("release", one.name).returncode == 0

    def hold(self, node, one):
        """Nothing is sent there any more, over a kill too; it stays so until a release."""
        if node.queue("hold", one.name).returncode != 0:
            return False
        time.sleep(UNDER_WAY)
        before = one.requests
        if self.rng.random() < 0.5:
            node.kill()
            node.tend()
        time.sleep(self.rng.random() * 1.5)
        self.ask(one.requests == before, "sent to %s, which is on hold" % one.name)
        if self.rng.random() < 0.7:
            node.queue("release", one.name)
        return True

    def set_aside(self, node, one):
        waiting = node.waiting(one.name)
        if not waiting:
            return False
        txn = self.rng.choice(waiting)[0]
        self.cases[one.name].aside.add(txn)
        done = node.queue("hold", one.name, txn).returncode == 0
        if done and self.rng.random() < 0.3:
            node.queue("release", one.name, txn)
        return done

    def discard(self, node, one):
        """A transaction; its events come no more, unless they arrived already."""
        waiting = node.waiting(one.name)
        if not waiting or one is self.guest and self.fills:
            return False
        txn, _, events = self.rng.choice(waiting)
        out = node.queue("discard", "--yes", one.name, txn)
        if out.returncode == 0:
            self.cases[one.name].discarded[txn] = {of_event(e) for e in events}
        return out.returncode == 0

    # ---- the run

    def tend(self):
        for node in self.nodes:
            node.tend()
            status = node.look_beside()
            if status is not None:
                self.counts["replay --into: ended with %d" % status] += 1

    def goes_on(self, end):
        if self.given.cycles is not None:
            return self.cycles < self.given.cycles
        return time.monotonic() < end

    def run(self, faults):
        """faults: (weight, name, function)."""
        weights = [w for w, _, _ in faults]
        if not os.path.exists(SHIM):  # a preload that is missing is only warned of
            raise FileNotFoundError(SHIM)
        self.begin()
        end = time.monotonic() + self.given.seconds
        while self.goes_on(end):
            _, name, function = self.rng.choices(faults, weights)[0]
            node = self.rng.choice(self.nodes)
            node.tend()
            function(node)
            self.counts[name] += 1
            self.cycles += 1
            self.tend()
            time.sleep(self.rng.random() * 0.2)
        self.settle()

    def begin(self):
        """All logs are seen before the first fault: who comes later begins with the
        newest file."""
        for log in self.logs():
            log.start()
        for node in self.nodes:
            node.start()
        lib.wait_for(lambda: {log.server for log in self.logs()} ==
                     {server for server, _ in self.fast.has()}, "an event of each log")

    def settle(self):
        """Heal all, and wait until everything arrived or nothing moves any more."""
        healed = time.monotonic()
        for node in self.nodes:
            node.heal()
        if self.guest not in self.registered:
            self.come_back()
        for node in self.nodes:  # a log is not rotated, nor ends, beside a backfill
            node.end_beside()
        for log in self.logs():
            log.finish()
        for receiver in self.receivers:
            receiver.set("take")
        self.look_at_dead()
        self.until_still(lambda: self.edit_all("release") and self.edit_all("retry", "--dead"),
                         [r for r in self.receivers if r is not self.guest])
        if self.fills:
            self.fill_all()
        self.until_still(lambda: True, self.receivers)
        self.tap.say("%.1f s from the healing to the end" % (time.monotonic() - healed))

    def until_still(self, first, receivers):
        """Until these have all; first is done as soon as it can be."""
        last, seen, done = time.monotonic(), None, False
        while True:
            self.tend()
            done = done or first()
            now = [len(r.has()) for r in self.receivers]
            if done and not any(self.cases[r.name].lost(self.logs()) for r in receivers):
                return
            if now != seen:
                seen, last = now, time.monotonic()
            if time.monotonic() - last > SETTLE:
                self.bad.append("stuck: of %d events the receivers have %s"
                                % (sum(self.places().values()), now))
                return
            time.sleep(0.3)

    def look_at_dead(self):
        """Only what was refused, or was set aside by hand, is a dead letter."""
        node = self.nodes[0]
        node.wait_started()
        for receiver in self.receivers:
            dead = {txn for txn, state, _ in node.waiting(receiver.name) if state == "dead"}
            self.counts["dead letters at the end"] += len(dead)
            bad = dead - self.cases[receiver.name].may_be_aside()
            self.ask(not bad, "%s: set aside, though it was not refused: %s"
                     % (receiver.name, bad))

    def edit_all(self, action, *more):
        return all(self.nodes[0].queue(action, *more, r.name).returncode == 0
                   for r in self.receivers)

    def fill_all(self):
        """All that the guest missed, and nothing twice."""
        for node in self.nodes:
            if node.look_beside(SETTLE) is None:
                node.end_beside()
            for log in node.logs:
                node.backfill("guest", log)
                status = node.look_beside(2 * SETTLE)
                self.ask(status == 0, "replay --into ended with %s" % status)
                node.end_beside()

    # ---- what came of it

    def late(self, receiver):
        """Ids that came again behind later ones, and should not have."""
        aside = self.cases[receiver.name].may_be_aside()
        return [(at, txn) for at, txn in receiver.late
                if txn not in aside and receiver.refused[txn] == 0]

    def judge(self):
        total = sum(self.places().values())
        lost = repeated = 0
        good = self.tap.ok(total > 0, "%d events in %d cycles of faults" % (total, self.cycles))
        for receiver in self.receivers:
            one = self.cases[receiver.name].judge(self.tap, self.logs(), self.late(receiver))
            lost, repeated, good = lost + one[0], repeated + one[1], good and one[2]
        for node in self.nodes:
            self.bad += node.bad
        good &= self.tap.ok(not self.bad, "nothing ended by itself, was stuck, or sent wrongly",
                            "\n".join(self.bad))
        good &= self.judge_state()
        self.table(total, lost, repeated)
        self.folder.bad = not good
        if not good:
            for node in self.nodes:
                self.tap.say(node.said()[-3000:])

    def judge_state(self):
        """Nothing waits any more, as status says; and the end is clean."""
        good = True
        for node in self.nodes:
            try:
                lib.wait_for(lambda: all(q["waiting"] == 0 and q["dead_letters"] == 0
                                         for q in node.status()["appservices"]), "empty queues")
                state = []
            except TimeoutError:
                state = node.status()["appservices"]
            good &= self.tap.ok(not state, node.name + ": nothing waits, nothing is set aside",
                                state)
        for node in self.nodes:
            good &= self.tap.equal(node.terminate(), 0, node.name + ": SIGTERM ends it cleanly")
        return good

    def table(self, total, lost, repeated):
        rows = [("fault", "times")] + sorted(self.counts.items())
        for field, name in (("failed", "calls of the disk that failed"),
                            ("dropped", "pages that a sync that failed dropped"),
                            ("ended", "ended inside a call of the disk")):
            rows.append((name, sum(n.control.get(field) for n in self.nodes)))
        for kind in KINDS:
            rows.append(("rotations: " + kind, sum(l.rotations[kind] for l in self.logs())))
        rows.append(("lives of hearsay", sum(n.lives for n in self.nodes)))
        done = collections.Counter()
        for receiver in self.receivers:
            done.update(receiver.done)
        rows += [("answer: " + way, n) for way, n in sorted(done.items())]
        rows += [("discarded transactions",
                  sum(len(c.discarded) for c in self.cases.values())),
                 ("transactions sent again after they were taken",
                  sum(r.repeated for r in self.receivers)),
                 ("of these, behind later ones", sum(len(r.late) for r in self.receivers))]
        for name, count in rows:
            self.tap.say("%-50s %8s" % (name, count))
        self.tap.say("%d cycles, %d events, %d deliveries, %d lost, %d repeated"
                     % (self.cycles, total, sum(len(r.has()) for r in self.receivers), lost,
                        repeated))
