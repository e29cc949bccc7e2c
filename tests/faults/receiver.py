"""An appservice that misbehaves on request, and forgets nothing.

It takes a transaction as real ones do: one whose id it took before is answered
with 200 and dropped.  What it took is kept in order, with the hash of every body
that ever came under an id.
"""
import collections
import hashlib
import json
import socket
import threading
import time

TOKEN = "an-hs-token-made-up-for-the-test"

# What it does with a request: the name, and whether the transaction is taken.
WAYS = {
    "take": True,
    "take slowly": True,
    "take later": True,       # wait first
    "take, cut": True,        # the acknowledgement is lost
    "take, half": True,       # of the answer
    "take, hang": True,
    "take, endless": True,    # an answer of 200 that does not end
    "take, odd": True,        # 202
    "cut at once": False,     # before the request was read
    "cut": False,             # behind the request
    "hang": False,
    "garbage": False,
    "500": False,
    "502": False,
    "503": False,             # with Retry-After
    "429": False,
    "401": False,
    "404": False,
    "307": False,
    "400": False,
}
RETRY_AFTER = "Retry-After: 1\r\n"


def lives(s):
    """Whether the other side of a connection is still there."""
    try:
        return s.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


class Receiver:
    """One appservice; mode is a name of WAYS, or "gone" (it refuses), or "mixed"."""

    def __init__(self, name, folder, types, rng):
        self.name, self.rng = name, rng
        self.lock = threading.Lock()
        self.mode = "take"
        self.taken = []  # (time, id, events)
        self.hashes = collections.defaultdict(set)
        self.known = {}  # id: its place in taken
        self.done = collections.Counter()  # what was done with requests
        self.repeated = 0  # requests with an id that was taken before
        self.late = 0  # of these, behind later ones, from a sender that still lives
        self.wrong = []  # what no sender may do
        self.peer = None  # the port from which the last transaction was taken
        self.sockets = set()
        self.listening = None
        self.types = types
        self.registration = folder / (name + ".yaml")
        self._register()
        self.up()

    # ---- what the harness asks of it

    def set(self, mode):
        """From now on; connections that hang are cut."""
        with self.lock:
            self.mode = mode
        self._drop()
        if mode == "gone":
            self.down()
        elif self.listening is None:
            self.up()

    def move(self):
        """To another port; who reads the registration finds it there."""
        was_up = self.listening is not None
        self.down()
        self._register()
        if was_up:
            self.up()

    def up(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", self.port))
        s.listen(64)
        self.listening = s
        threading.Thread(target=self._accept, args=(s,), daemon=True).start()

    def down(self):
        s, self.listening = self.listening, None
        if s is not None:
            # Without it, accept() in the other thread keeps the port open.
            s.shutdown(socket.SHUT_RDWR)
            s.close()
        self._drop()

    def events(self):
        with self.lock:
            return [e for _, _, events in self.taken for e in events]

    def count(self):
        with self.lock:
            return sum(len(events) for _, _, events in self.taken)

    def last(self):
        """When it took a transaction for the last time."""
        with self.lock:
            return self.taken[-1][0] if self.taken else 0

    # ---- connections

    def _register(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(self.registration, "w", encoding="utf-8") as f:
            f.write("""id: %s
url: http://127.0.0.1:%d
as_token: an-as-token-of-%s
hs_token: %s-%s
sender_localpart: %s
namespaces:
  users:
    - exclusive: false
      regex: "@.*"
      m.synthetic_events: { events: [%s] }
""" % (self.name, self.port, self.name, TOKEN, self.name, self.name, ", ".join(self.types)))

    def _drop(self):
        with self.lock:
            sockets = list(self.sockets)
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listening):
        while True:
            try:
                s, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with self.lock:
            self.sockets.add(s)
        try:
            with s, s.makefile("rb") as stream:
                while self._request(s, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.sockets.discard(s)

    def _request(self, s, stream):
        """One request; whether the connection stays open."""
        line = stream.readline()
        if not line:
            return False
        with self.lock:
            way = self.mode if self.mode != "mixed" else self.rng.choice(list(WAYS))
            self.done[way] += 1
        if way in ("cut at once", "gone"):
            return False
        headers = {}
        for raw in iter(stream.readline, b"\r\n"):
            if not raw:
                return False
            name, _, value = raw.decode().partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = stream.read(length)
        if len(body) < length:
            return False  # the sender was killed; nothing arrived
        if way == "take later":
            time.sleep(0.2)
        self._look(line.decode(), headers, body, WAYS.get(way, False), s)
        return self._answer(s, way)

    def _look(self, line, headers, body, take, s):
        txn = line.split()[1].rpartition("/")[2].partition("?")[0]
        with self.lock:
            if headers.get("authorization") != "Bearer %s-%s" % (TOKEN, self.name):
                self.wrong.append("a wrong token")
            self.hashes[txn].add(hashlib.sha256(body).hexdigest())
            if txn in self.known:
                self.repeated += 1
                # What was on its way when its sender was killed comes when it comes.
                self.late += self.known[txn] != len(self.taken) - 1 and lives(s)
            elif take:
                content = json.loads(body)
                self.peer = s.getpeername()[1]
                if content.get("events") != []:
                    self.wrong.append("no empty list of events")
                self.known[txn] = len(self.taken)
                self.taken.append((time.monotonic(), txn, content["m.synthetic_events"]))

    def _answer(self, s, way):
        if way == "take slowly":
            time.sleep(0.2)
        if way in ("cut", "take, cut"):
            return False
        if way in ("hang", "take, hang"):
            s.recv(1)  # until either side cuts the connection
            return False
        if way == "garbage":
            s.sendall(b"\0\1\2 no protocol that is known\r\n\r\n")
            return False
        if way == "take, half":
            s.sendall(b"HTTP/1.1 200 O")
            return False
        if way == "take, endless":
            s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                s.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        status = 202 if way == "take, odd" else 200 if WAYS[way] else int(way)
        more = RETRY_AFTER if status in (429, 503) else ""
        more += "Location: http://127.0.0.1:1/\r\n" if status == 307 else ""
        s.sendall(("HTTP/1.1 %d X\r\n%sContent-Length: 2\r\n\r\n{}" % (status, more)).encode())
        return True
