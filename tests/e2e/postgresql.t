#!/usr/bin/env python3
"""A store in PostgreSQL at its worst moments.

A sender is stopped with a request under way, its connections are ended, and
another takes over before it goes on; the server stands still; the server is away
when hearsay starts.
"""
import hashlib
import json
import os
import signal
import socket
import threading
import time

import lib
import postgres

ENDS_IN = 15  # seconds from SIGTERM, with a server that hangs


class Receiver:
    """
    Keeps every request that came whole, in order.  At first its door is shut: a
    connection is neither taken nor refused.
    """

    def __init__(self, folder):
        self.requests = []  # (id, hash of the body, events)
        self.reads = threading.Event()  # what is sent on connections from now on
        self.late = None  # the same, of those that came while nothing was read
        self.reads.set()
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.listening.listen(0)
        self.registration = folder / "appservice.yaml"
        lib.write_registration(self.registration, self.port, users="@.*")
        self.before_door = socket.create_connection(("127.0.0.1", self.port))

    def open(self):
        self.listening.listen(64)
        self.before_door.close()
        threading.Thread(target=self._accept, daemon=True).start()

    def read_nothing(self):
        self.reads = threading.Event()

    def read_what_is_new(self):
        self.late, self.reads = self.reads, threading.Event()
        self.reads.set()

    def read_all(self):
        if self.late:
            self.late.set()

    def _accept(self):
        while True:
            s, _ = self.listening.accept()
            threading.Thread(target=self._serve, args=(s, self.reads), daemon=True).start()

    def _serve(self, s, reads):
        reads.wait()
        try:
            with s, s.makefile("rb") as stream:
                while self._request(s, stream):
                    pass
        except OSError:
            pass

    def _request(self, s, stream):
        line = stream.readline().split()
        if not line:
            return False
        length = 0
        for raw in iter(stream.readline, b"\r\n"):
            if not raw:
                return False
            if raw.lower().startswith(b"content-length:"):
                length = int(raw.split(b":")[1])
        body = stream.read(length)
        if len(body) < length:
            return False
        self.requests.append((line[1].rpartition(b"/")[2].decode(),
                              hashlib.sha256(body).hexdigest(),
                              json.loads(body)["m.synthetic_events"]))
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        return True

    def events(self, server):
        """Of that server, those that a receiver has which drops ids that it knows."""
        out, seen = [], set()
        for txn, _, events in list(self.requests):
            if txn not in seen:
                out += [lib.same(e) for e in events if e["content"]["user_id"].endswith(server)]
            seen.add(txn)
        return out

    def judge(self, tap, node, name):
        got = self.events(node.server)
        tap.ok(got == node.want, "%s: each event of %s once, in order" % (name, node.name),
               "%d of %d" % (len(got), len(node.want)))

    def again(self):
        """The ids that came more than once, each time that they did."""
        ids = [txn for txn, _, _ in list(self.requests)]
        return [txn for place, txn in enumerate(ids) if txn in ids[:place]]


def has_socket(port, state, end, unread=False):
    """Whether one has that state, and the port at that end, in /proc/net/tcp."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    return any(int(r[end].rpartition(":")[2], 16) == port and r[3] == state and
               (not unread or int(r[4].rpartition(":")[2], 16) > 0) for r in rows)


class Node:
    """A hearsay with a log of its own."""

    def __init__(self, folder, name, url, registration):
        self.name, self.server = name, name + ".test"
        self.log = folder / (name + ".log")
        self.config = folder / (name + ".conf")
        data, _ = lib.capture("synapse-text")
        self.lines = data.replace(lib.SERVER.encode(), self.server.encode()).splitlines(True)
        whole = folder / (name + ".whole")
        with open(whole, "wb") as f:
            f.writelines(self.lines)
        self.want = [lib.same(e) for e in lib.replay(whole, server=self.server)
                     if e["type"] in lib.LISTED]
        with open(self.log, "wb"):
            pass
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""store = "%s";
instance = "%s";
patterns = [ "%s" ];
registrations = [ "%s" ];
servers = ( { name = "%s"; pack = "synapse"; timezone = "UTC";
    logs = ( { path = "%s"; start = "beginning"; } ); } );
send = { connect_timeout = 60; timeout = 60; };
""" % (url, name, lib.PATTERNS, registration, self.server, self.log))
        self.said_in = folder / (name + ".run.log")
        self.run = None

    def start(self):
        self.run = lib.Run(self.config, self.said_in)
        return self

    def started(self):
        return "started, config=" in self.run.said()

    def await_start(self):
        lib.wait_for(lambda: self.started() or not self.run.running(), "a start")
        return self

    def write(self, share=1):
        """The next lines: that share of those that are left."""
        count = int(len(self.lines) * share)
        with open(self.log, "ab") as f:
            f.writelines(self.lines[:count])
        del self.lines[:count]

    def signal(self, number):
        self.run.process.send_signal(number)

    def cpu(self):
        """Seconds of it that were used."""
        with open("/proc/%d/stat" % self.run.process.pid, encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- who stood still ------------------------------------------------------------


def take_over(tap, server, folder, name, stop):
    """
    stop(one, receiver) stops one at its moment, and returns the transaction that
    was under way.  Whenever that is: first occurrences are in order, and what
    comes again is that transaction, with the same bytes.  Returns both.
    """
    receiver = Receiver(folder)
    one = Node(folder, "one", server.url, receiver.registration).start().await_start()
    two = Node(folder, "two", server.url, receiver.registration).start().await_start()
    under_way = None
    try:
        under_way = stop(one, receiver)
        server.cut("hearsay: process %d on %%" % one.run.process.pid)
        two.write()
        lib.wait_for(lambda: len(receiver.events(two.server)) >= len(two.want), "two to take over")
        one.signal(signal.SIGCONT)
        lib.wait_for(lambda: "a request is cut" in one.run.said(), "one to learn of it")
        receiver.read_all()
        one.write()
        lib.wait_for(lambda: len(receiver.events(one.server)) >= len(one.want), "what is left")
    except TimeoutError as e:
        tap.ok(False, name, "%s\n%s\n%s" % (e, one.run.said(), two.run.said()))
    one.signal(signal.SIGCONT)
    statuses = [node.run.terminate() for node in (one, two)]
    for node in (one, two):
        receiver.judge(tap, node, name)
    bodies = {(txn, body) for txn, body, _ in receiver.requests}
    tap.equal(len(bodies), len({txn for txn, _ in bodies}), name + ": each id has one body")
    tap.equal(statuses, [0, 0], name + ": both end cleanly")
    server.sql("DROP SCHEMA hearsay CASCADE")
    return receiver.again(), under_way


def the_one_that_waits(server):
    return server.sql("SELECT id FROM hearsay.transactions WHERE accepted_ms IS NULL").stdout.strip()


def before_the_bytes(tap, server):
    """Its connection is not there yet; it is when the sender goes on."""
    def stop(one, receiver):
        one.write(0.2)
        lib.wait_for(lambda: has_socket(receiver.port, "02", 2), "a request")  # SYN_SENT
        one.signal(signal.SIGSTOP)
        receiver.open()
        return the_one_that_waits(server)

    with lib.Folder() as folder:
        name = "stopped before the bytes"
        again, _ = take_over(tap, server, folder, name, stop)
        tap.equal(again, [], name + ": nothing comes again")


def behind_the_bytes(tap, server):
    """They are in the kernel: nobody has them back."""
    def stop(one, receiver):
        receiver.open()
        receiver.read_nothing()
        one.write(0.2)
        lib.wait_for(lambda: has_socket(receiver.port, "01", 1, unread=True), "a request")
        one.signal(signal.SIGSTOP)
        receiver.read_what_is_new()
        return the_one_that_waits(server)

    with lib.Folder() as folder:
        name = "stopped behind the bytes"
        again, under_way = take_over(tap, server, folder, name, stop)
        tap.equal(again, [under_way], name + ": only what was under way comes again, once")


# ---- a server that hangs, or is away ---------------------------------------------


def hangs(tap, server):
    with lib.Folder() as folder:
        receiver = Receiver(folder)
        receiver.open()
        one = Node(folder, "one", server.url, receiver.registration).start().await_start()
        one.write(0.2)
        lib.wait_for(lambda: receiver.requests, "a transaction")
        server.freeze()
        one.write(0.2)
        lib.wait_for(lambda: "does not answer" in one.run.said(), "the loss to be told")
        before = one.cpu()
        time.sleep(3)
        used = one.cpu() - before
        tap.ok(used < 1.5, "it is not busy while the server hangs", "%.2f of 3 s" % used)
        server.thaw()
        one.write()
        lib.wait_for(lambda: len(receiver.events(one.server)) >= len(one.want), "all events")
        receiver.judge(tap, one, "a server that hung")

        server.freeze()
        begun = time.monotonic()
        status = one.run.terminate()
        took = time.monotonic() - begun
        tap.ok(took < ENDS_IN, "SIGTERM ends it while the server hangs", "%.1f s" % took)
        tap.say("that took %.1f s, with status %d" % (took, status))
        server.thaw()
        server.sql("DROP SCHEMA hearsay CASCADE")


def is_away(tap, server):
    with lib.Folder() as folder:
        receiver = Receiver(folder)
        receiver.open()
        one = Node(folder, "one", server.url, receiver.registration)
        one.write()
        server.kill()
        one.start()
        lib.wait_for(lambda: "waiting for the store" in one.run.said() or not one.run.running(),
                     "it to wait")
        tap.ok(one.run.running() and not one.started(), "it waits for a server that is away",
               one.run.said())
        tap.ok(server.folder in one.run.said(), "and says where")
        one.signal(signal.SIGTERM)
        begun = time.monotonic()
        tap.equal(one.run.process.wait(lib.PATIENCE), 0, "SIGTERM ends the wait")
        tap.ok(time.monotonic() - begun < 5, "promptly")

        one.start()
        lib.wait_for(lambda: one.run.said().count("waiting for the store") == 2, "it to wait")
        server.start()
        lib.wait_for(lambda: len(receiver.events(one.server)) >= len(one.want), "all events")
        receiver.judge(tap, one, "a server that came later")
        tap.equal(one.run.terminate(), 0, "and ends cleanly")


def cannot_be_mended(tap, server):
    with lib.Folder() as folder:
        url = server.url.replace("/postgres?", "/nowhere?")
        one = Node(folder, "one", url, Receiver(folder).registration).start()
        tap.equal(one.run.process.wait(lib.PATIENCE), 1, "a database that is not there ends it")
        tap.ok('"nowhere" does not exist' in one.run.said() and
               "waiting" not in one.run.said(), "and is told", one.run.said())


def main():
    tap = lib.Tap()
    if postgres.reason():
        print("1..0 # SKIP " + postgres.reason())
        return
    server = postgres.Server()
    try:
        server.start()
        before_the_bytes(tap, server)
        behind_the_bytes(tap, server)
        hangs(tap, server)
        is_away(tap, server)
        cannot_be_mended(tap, server)
    finally:
        server.remove()
    tap.done()


main()
