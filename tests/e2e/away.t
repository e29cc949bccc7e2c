#!/usr/bin/env python3
"""The store is away while a glob finds logs: new ones, and one of the last run.

They are followed all the same, through rotation and deletion; what they say is told
when the store is back, once and in order, and of the known log only what is new.
"""
import datetime
import os
import sqlite3

import lib
import postgres


def logins(log, first, count):
    """Of log-1, log-2…"""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return "".join("%s  INFO login: conduwuit_api::client::session: @%s-%d:%s logged in\n" %
                   (now, log, n, lib.SERVER) for n in range(first, first + count))


class Held:
    """A store in a file, which another program holds while it is away."""

    def __init__(self, folder):
        self.name = "a file that is held"
        self.store = folder / "hearsay.db"
        self.holder = None

    def leave(self):
        self.holder = sqlite3.connect(self.store, isolation_level=None)
        self.holder.execute("BEGIN IMMEDIATE")

    def come_back(self):
        self.holder.close()


class Server:
    """A store in a server that is killed and started again."""

    def __init__(self, server):
        self.name = "a server that is down"
        self.store = server.url
        self.leave = server.kill
        self.come_back = server.start


class Scene:
    def __init__(self, tap, folder, store):
        self.tap, self.store = tap, store
        self.logs = folder / "logs"
        self.outside = folder / "outside"
        os.mkdir(self.logs)
        self.receiver = lib.Receiver(folder)
        self.config = folder / "hearsay.conf"
        self.said_in = folder / "run.log"
        lib.write_config(self.config, folder, self.receiver.registration,
                         self.logs + "/*.log*", store=store.store, pack="continuwuity")
        self.run = None

    def ok(self, good, what):
        return self.tap.ok(good, "%s: %s" % (self.store.name, what), self.run.said()[-4000:])

    def path(self, name):
        return os.path.join(self.logs, name + ".log")

    def write(self, name, first, count, path=None):
        with open(path or self.path(name), "a", encoding="utf-8") as f:
            f.write(logins(name, first, count))

    def opened(self, *paths):
        """
        Wait until it holds these: from then on they can't be lost.  While a file is
        held, each call of the store takes SQLite's patience of 5 s.
        """
        fds = "/proc/%d/fd" % self.run.process.pid
        files = {os.stat(path).st_ino for path in paths}

        def held():
            try:
                return files <= {os.stat(os.path.join(fds, fd)).st_ino for fd in os.listdir(fds)}
            except FileNotFoundError:  # one was closed meanwhile
                return False

        lib.wait_for(lambda: not self.run.running() or held(), "files to be opened",
                     2 * lib.PATIENCE)

    def users(self, name):
        users = [e["content"]["user_id"].split(":")[0][1:] for e in self.receiver.events()]
        return [u for u in users if u.startswith(name + "-")]

    def arrived(self, **counts):
        """Each of these logs' logins, once and in order."""
        try:
            lib.wait_for(lambda: not self.run.running() or
                         all(len(self.users(n)) >= c for n, c in counts.items()),
                         "the logins")
        except TimeoutError as e:
            self.tap.say(e)
        return all(self.users(n) == ["%s-%d" % (n, i + 1) for i in range(c)]
                   for n, c in counts.items())

    def last_run(self):
        self.write("here", 1, 3)
        self.write("known", 1, 3)
        self.run = lib.Run(self.config, self.said_in)
        good = self.arrived(here=3, known=3)
        good &= self.run.terminate() == 0
        os.rename(self.path("known"), self.outside)
        self.ok(good, "a run that follows two logs")

    def meet_logs(self):
        """The first is what shows that the store is away; the others come behind that."""
        self.write("new", 1, 2)
        lib.wait_for(lambda: "reading stops" in self.run.said() or not self.run.running(),
                     "the loss to be told")
        os.rename(self.path("new"), self.path("new") + ".1")
        self.write("new", 3, 2)
        self.write("late", 1, 2)
        self.write("here", 4, 2)
        # Of the known log only what rotation made of it is there.
        self.write("known", 4, 2, self.outside)
        os.rename(self.outside, self.path("known") + ".1")
        self.opened(self.path("new"), self.path("late"), self.path("known") + ".1")
        os.unlink(self.path("late"))
        self.write("late", 3, 1)
        self.write("known", 6, 1)
        self.opened(self.path("late"), self.path("known"))

    def play(self):
        self.receiver.start()
        self.last_run()
        self.run = lib.Run(self.config, self.said_in)
        lib.wait_for(lambda: self.run.said().count("started") == 2, "a start")
        self.store.leave()
        self.meet_logs()
        self.ok(self.run.running(), "it lives, and waits")
        self.store.come_back()
        self.ok(self.arrived(here=5, known=6, new=4, late=3),
                "what they said meanwhile is told, once and in order")
        self.write("late", 4, 1)
        self.ok(self.arrived(here=5, known=6, new=4, late=4), "they are followed on")
        said = self.run.said()
        self.ok(said.count("reading stops") == 1 and said.count("reading goes on") == 1,
                "that it waits is said once")
        self.ok(self.run.terminate() == 0, "SIGTERM ends it cleanly")
        self.receiver.stop()


def main():
    tap = lib.Tap()
    with lib.Folder() as folder:
        Scene(tap, folder, Held(folder)).play()
    if postgres.reason():
        tap.ok(True, "a server that is down # SKIP " + postgres.reason())
    else:
        server = postgres.Server()
        try:
            server.start()
            with lib.Folder() as folder:
                Scene(tap, folder, Server(server)).play()
        finally:
            server.remove()
    tap.done()


main()
