#!/usr/bin/env python3
"""The store in PostgreSQL under faults: three hearsays, each with a log of its own.

Whoever sends is killed, and another takes over; connections are cut, and the
server is killed.
"""
import os
import signal
import time

import harness
from harness import lib
import postgres

RATE = 12000  # bytes a second that each log grows by
TAKEN_OVER = 15  # seconds; a sender's lock is asked for every two


class Postgresql(harness.Harness):
    server = None
    longest = 0.0  # seconds from a kill until the fast receiver got something again

    def __init__(self, *args):
        super().__init__(*args)
        self.losses = {r.name: [] for r in self.receivers}  # how many ids had been sent

    def lose_right(self):
        """
        The sender is about to lose its right without knowing, with a request under
        way.  That one transaction may come again behind later ones, and no other.
        """
        for receiver in self.receivers:
            with receiver.lock:
                sent = len(receiver.hashes)
            self.losses[receiver.name].append(sent)

    def late(self, receiver):
        order = list(receiver.hashes)
        # The one before, or the one that was first asked for behind it.
        mine = {txn for n in self.losses[receiver.name] for txn in order[max(n - 1, 0):n + 1]}
        return [(at, txn) for at, txn in super().late(receiver) if txn not in mine]

    def sender(self, receiver):
        """The node that the receiver's last transaction came from, if that lives."""
        with open("/proc/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f][1:]
        sockets = {"socket:[%s]" % row[9] for row in rows
                   if int(row[1].rpartition(":")[2], 16) == receiver.peer}
        for node in self.nodes:
            try:
                folder = "/proc/%d/fd/" % node.process.pid
                if any(os.readlink(folder + fd) in sockets for fd in os.listdir(folder)):
                    return node
            except OSError:
                pass
        return None

    def leave_dead(self, node):
        """The others go on without the one who sends, and send what it would have sent."""
        fast = self.receivers[0]
        found = self.sender(fast)
        self.counts["the one who sends to fast is killed"] += found is not None
        (found or node).kill()
        killed = time.monotonic()
        while fast.last() <= killed and time.monotonic() - killed < 2 * TAKEN_OVER:
            time.sleep(0.05)
        self.longest = max(self.longest, (fast.last() or time.monotonic()) - killed)
        if fast.last() <= killed:
            self.bad.append("nobody took over within %d s" % (2 * TAKEN_OVER))

    def cut(self, _node):
        """All connections at once."""
        self.lose_right()
        for node in self.nodes:
            node.trouble = True
        self.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")

    def server_dies(self, node):
        for each in self.nodes:
            each.trouble = True
        self.lose_right()
        self.server.kill()
        time.sleep(self.rng.random() * 2)
        if self.rng.random() < 0.3:
            self.rng.choice((self.kill, self.term))(node)
            node.tend()
        self.server.start()

    def stop_and_cut(self, node):
        """Another takes over from one that does not know yet that it lost its right."""
        node.trouble = True
        node.process.send_signal(signal.SIGSTOP)
        self.cut(node)
        time.sleep(self.rng.random() * 4)
        node.process.send_signal(signal.SIGCONT)


def main():
    given = harness.options()
    if postgres.reason():
        print("1..0 # SKIP " + postgres.reason())
        return
    tap = lib.Tap()
    with harness.Folder() as folder:
        h = Postgresql(tap, folder, given)
        h.server = server = postgres.Server()
        try:
            server.start()
            for name in ("one", "two", "three"):
                h.node(name, server.url, (name + ".test",), RATE, queue=1000000,
                       more='instance = "%s";\n' % name)
                h.nodes[-1].troubled = lambda: server.down
            h.run((
                (5, "kill -9", h.kill),
                (5, "kill -9, and another takes over", h.leave_dead),
                (2, "connections cut", h.cut),
                (2, "server killed", h.server_dies),
                (2, "stands still", h.stop),
                (2, "stands still, connections cut", h.stop_and_cut),
                (3, "clock jumps", h.clock),
                (3, "SIGTERM", h.term),
                (3, "rotation asked for", h.rotate),
                (2, "rotations while it is dead", h.rotate_unseen),
                (1, "an appservice moves", h.move),
                (8, "receivers", h.receiver),
                (2, "killed again and again", h.kill_often),
                (4, "queue by hand", h.by_hand),
                (1.5, "an appservice comes or goes", h.come_or_go),
                (1.5, "replay --into", h.fill),
            ))
            tap.say("longest from a kill to the next transaction taken: %.1f s" % h.longest)
            tap.ok(h.longest < TAKEN_OVER, "another takes over within seconds")
            h.judge()
        finally:
            for node in h.nodes:
                if node.process:
                    node.kill()
            server.remove()
    tap.done()


main()
