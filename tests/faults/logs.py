"""The log of a homeserver, and the events that it must give.

The lines have the forms of Synapse's, in JSON, which nobody can forge.  Each
request is about a user of its own, whose number tells the event: what hearsay is
to tell is known from what was written, without asking hearsay.
"""
import json
import os
import random
import re
import shutil
import threading
import time

KINDS = ("rename", "late", "copytruncate")
USER = re.compile(r"@u(\d+):(.+)")

LOGIN = (
    ("synapse.rest.client.login", "Got login request with identifier: "
     "{'type': 'm.id.user', 'user': 'u%(n)d'}, medium: None, address: None, user: None"),
    ("synapse.handlers.auth", "Logging in user @u%(n)d:%(server)s on device D%(n)d"),
    ("synapse.access.http.18008", "127.0.0.1 - 18008 - {None} Processed request: "
     "0.031sec/0.000sec ru=(0.005sec, 0.000sec) db=(0.003sec/0.011sec/7) 144B 200 "
     '"POST /_matrix/client/v3/login HTTP/1.1" "a-client/1" [0 dbevts]'),
)
LOGOUT = (
    ("synapse.handlers.device", "Deleting devices ['D%(n)d'] for '@u%(n)d:%(server)s'"),
    ("synapse.access.http.18008", "127.0.0.1 - 18008 - {@u%(n)d:%(server)s} "
     "Processed request: 0.065sec/0.008sec ru=(0.001sec, 0.001sec) db=(0.044sec/0.016sec/5) "
     '2B 200 "POST /_matrix/client/v3/logout HTTP/1.1" "a-client/1" [0 dbevts]'),
)
SYNC = (
    ("synapse.access.http.18008", "127.0.0.1 - 18008 - {@u%(n)d:%(server)s} "
     "Processed request: 0.017sec/0.001sec ru=(0.006sec, 0.000sec) db=(0.009sec/0.005sec/32) "
     '12023B 200 "GET /_matrix/client/v3/sync?timeout=0 HTTP/1.1" "a-client/1" [0 dbevts]'),
)
BEGIN = 1767225600  # the first line's second
OPEN_MAX = 6  # requests at a time


def of_event(event):
    """The server and the number of an event that was told; None if it has none."""
    user = USER.fullmatch(str(event.get("content", {}).get("user_id")))
    return (user[2], int(user[1])) if user else None


class Request:
    """One request of a client: its lines, and the event it must give."""

    def __init__(self, number, server, kind):
        self.number, self.server, self.kind = number, server, kind
        self.lines = list({"login": LOGIN, "logout": LOGOUT, "sync": SYNC}[kind])
        self.waits = 0  # lines of others before it goes on

    def event(self, ts):
        content = {"user_id": "@u%d:%s" % (self.number, self.server),
                   "device_id": "D%d" % self.number}
        if self.kind == "logout":
            content["soft_logout"] = False
        return {"type": "m.user." + self.kind, "content": content, "ts": ts}


class Log:
    """Written by a thread, in pieces of random size, from start() to finish()."""

    def __init__(self, folder, server, seed, rate):
        self.server, self.rng, self.rate = server, random.Random(seed), rate
        self.path = folder / (server + ".log")
        self.told = []  # (number, event), as their last lines stand in the log
        self.place = {}  # of a number in told
        self.rotations = dict.fromkeys(KINDS, 0)
        self.rotate_next = None
        self.still = threading.Lock()  # held: no rotation
        self.ends = threading.Event()
        self.number = self.contexts = 0
        self.open = []
        self.clock = BEGIN * 100  # hundredths of seconds
        self.out = open(self.path, "ab", buffering=0)
        self.late = None  # so many pieces still go to the file that was renamed
        self.thread = threading.Thread(target=self._write, daemon=True)

    def start(self):
        self.thread.start()

    def finish(self):
        """Open requests end; all is written when it returns."""
        self.ends.set()
        self.thread.join()

    def rotate(self, kind):
        self.rotate_next = kind

    def pieces(self):
        """The files of the log, oldest first."""
        number = 1
        while os.path.exists("%s.%d" % (self.path, number)):
            number += 1
        return ["%s.%d" % (self.path, n) for n in range(number - 1, 0, -1)] + [self.path]

    def forget(self, keep=8):
        """Rotated files that were read whole long ago are removed."""
        for path in self.pieces()[:-1 - keep]:
            os.unlink(path)

    # ---- lines

    def _begin(self):
        self.number += 1
        kind = self.rng.choice(("login", "login", "logout", "sync"))
        request = Request(self.number, self.server, kind)
        self.contexts += 1
        request.context = "POST-%d" % self.contexts
        if self.rng.random() < 0.05:  # open over rotations and kills
            request.waits = self.rng.randint(20, 400)
        self.open.append(request)

    def _line(self):
        """The next line, and what it tells: (number, event) or None."""
        ending = self.ends.is_set()
        if not ending:
            while len(self.open) < self.rng.randint(1, OPEN_MAX):
                self._begin()
        for request in self.open:
            request.waits -= 1
        ready = [r for r in self.open if ending or r.waits < 0]
        if not ready:
            self._begin()
            ready = self.open[-1:]
        request = self.rng.choice(ready)
        self.clock += self.rng.randint(0, 4)
        logger, text = request.lines.pop(0)
        line = json.dumps({
            "log": text % {"n": request.number, "server": self.server}, "namespace": logger,
            "level": "INFO", "time": self.clock / 100, "server_name": self.server,
            "request": request.context}).encode() + b"\n"
        if request.lines:
            return line, None
        self.open.remove(request)
        if request.kind == "sync":
            return line, None
        return line, (request.number, request.event(self.clock * 10))

    # ---- pieces

    def _write(self):
        while not self.ends.is_set():
            self._some(self.rng.randint(1, 60))
        self._some(10 ** 6)
        self.out.close()

    def _some(self, count):
        """Up to count lines, which end with a whole one."""
        buffer, tells = b"", []  # tells: (where the line ends, what it tells)
        while count > 0 and (self.open or not self.ends.is_set()):
            line, tells_one = self._line()
            buffer += line
            if tells_one:
                tells.append((len(buffer), tells_one))
            count -= 1
        at = 0
        while at < len(buffer):
            at = self._piece(buffer, at, tells)

    def _piece(self, data, at, tells):
        size = self.rng.choice((self.rng.randint(1, 60), self.rng.randint(1, 6000)))
        kind = self.rotate_next if self.late is None else None
        if kind or self.late == 0:
            size = data.find(b"\n", at) + 1 - at
        size = min(size, len(data) - at)
        # Before it is written: what is not in told can't have been read by anybody.
        while tells and tells[0][0] <= at + size:
            number, event = tells.pop(0)[1]
            self.place[number] = len(self.told)
            self.told.append((number, event))
        self.out.write(data[at:at + size])
        if self.late == 0:  # the server has seen that its log was renamed
            self._reopen()
        elif self.late:
            self.late -= 1
        if kind:
            self.rotate_next = None
            self._rotate(kind)
        time.sleep(0 if self.ends.is_set() else size / self.rate * 2 * self.rng.random())
        return at + size

    def _reopen(self):
        self.out.close()
        self.out = open(self.path, "ab", buffering=0)
        self.late = None

    def _rotate(self, kind):
        with self.still:
            for number in range(len(self.pieces()) - 1, 0, -1):
                os.rename("%s.%d" % (self.path, number), "%s.%d" % (self.path, number + 1))
            if kind == "copytruncate":
                shutil.copyfile(self.path, self.path + ".1")
                os.truncate(self.path, 0)
            else:
                os.rename(self.path, self.path + ".1")
        self.rotations[kind] += 1
        if kind == "rename":
            self._reopen()
        elif kind == "late":
            self.late = self.rng.randint(1, 4)
