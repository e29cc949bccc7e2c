"""An appservice that misbehaves on request, and forgets nothing.

It takes a transaction as real ones do: one whose id it took before is answered
with 200 and dropped.  What it took is kept in order, with the hash of every body
that ever came under an id.
"""
import collections
import hashlib
import json
import os
import select
import socket
import ssl
import subprocess
import threading
import time

import logs

TOKEN = "an-hs-token-made-up-for-the-test"
TYPES = ("m.user.login", "m.user.logout")
MARK = "org.hearsay.backfill"

# What it does with a request: the name, and whether the transaction is taken.
WAYS = {
    "take": True,
    "take slowly": True,      # byte by byte
    "take later": True,       # wait first
    "take, cut": True,        # the acknowledgement is lost
    "take, cut within": True, # at any place of the answer
    "take, hang": True,
    "take, endless": True,    # an answer of 200 that does not end
    "take, odd": True,        # 202
    "take, 100 first": True,  # an interim answer
    "cut at once": False,     # before the request was read
    "cut in the body": False, # when a part of the request was read
    "cut": False,             # behind the request
    "hang": False,
    "garbage": False,
    "500": False,
    "502": False,
    "503": False,             # with Retry-After
    "429": False,
    "401": False,
    "403": False,
    "404": False,
    "307": False,
    "400": False,
    "413": False,
    "422": False,
}
REFUSALS = ("400", "413", "422")
RETRY_AFTER = "Retry-After: 1\r\n"
OLD_PATH, NEW_PATH = "/transactions/", "/_matrix/app/v1/transactions/"


def lives(s):
    """Whether the other side of a connection is still there: a request is not followed
    by anything else before its answer."""
    try:
        return not select.select([s], [], [], 0)[0]
    except (OSError, ValueError):
        return False


# Years before and behind any day that the shim's clock jumps to.
VALID = ("-startdate", "20000101000000Z", "-enddate", "20491231235959Z")
CA = """[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = named
[named]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
[receiver]
subjectAltName = IP:127.0.0.1
"""


def certificate(folder):
    """A CA of our own, and a certificate by it for 127.0.0.1: (ca, certificate, key)."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder.path)

    def sign(name, subject, *by):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + subject)
        openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-keyfile", "ca.key", *VALID,
                "-in", name + ".csr", "-out", name + ".pem", *by)

    with open(folder / "ca.cnf", "w", encoding="ascii") as f:
        f.write(CA)
    open(folder / "index.txt", "x", encoding="ascii").close()
    sign("ca", "a CA of our own", "-selfsign", "-extensions", "authority")
    sign("receiver", "receiver", "-cert", "ca.pem", "-extensions", "receiver")
    return folder / "ca.pem", folder / "receiver.pem", folder / "receiver.key"


class Taken:
    """A transaction that was taken."""

    def __init__(self, txn, events):
        self.at, self.txn, self.events = time.monotonic(), txn, events


class Receiver:
    """
    One appservice.  wire is how it is reached: "tcp", "tls" (a private CA), "unix"
    (a socket), or "legacy" (it knows the old path only).  mode is a name of WAYS, or
    "gone" (it refuses connections), "mixed", or "poison" (it refuses some bodies).
    """

    def __init__(self, name, folder, wire, rng, tls):
        self.name, self.folder, self.wire, self.rng = name, folder, wire, rng
        self.ca = tls[0] if wire == "tls" else None
        self.tls = None
        if self.ca:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls[1], tls[2])
        self.lock = threading.Lock()
        self.mode = "take"
        self.taken = []  # of Taken
        self.seen = set()  # (server, number) of all events in these
        self.hashes = {}  # by id, in the order of their first requests
        self.known = {}  # id: its place in taken
        self.refused = collections.Counter()  # of the body, by id
        self.done = collections.Counter()  # what was done with requests
        self.requests = 0
        self.repeated = 0  # requests with an id that was taken before
        self.late = []  # (time, id) of those behind later ones, from a sender that lives
        self.wrong = []  # what no sender may do
        self.peer = None  # the port from which the last transaction was taken
        self.sockets = set()
        self.listening = None
        self.moves = 0
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
        """To another port or socket; who reads the registration finds it there."""
        was_up = self.listening is not None
        self.down()
        self._register()
        if was_up:
            self.up()

    def up(self):
        if self.wire == "unix":
            s = socket.socket(socket.AF_UNIX)
            if os.path.exists(self.address):
                os.unlink(self.address)
        else:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(self.address)
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

    def last(self):
        """When it took a transaction for the last time."""
        with self.lock:
            return self.taken[-1].at if self.taken else 0

    def has(self):
        """(server, number) of all events that it took."""
        with self.lock:
            return set(self.seen)

    # ---- connections

    def _register(self):
        self.moves += 1
        if self.wire == "unix":
            self.address = self.folder / ("%s-%d.sock" % (self.name, self.moves))
            url = "unix://" + self.address
        else:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.address = s.getsockname()
            url = "%s://127.0.0.1:%d" % ("https" if self.tls else "http", self.address[1])
        with open(self.registration, "w", encoding="utf-8") as f:
            f.write("""id: %s
url: %s
as_token: an-as-token-of-%s
hs_token: %s-%s
sender_localpart: %s
namespaces:
  users:
    - exclusive: false
      regex: "@.*"
      m.synthetic_events: { events: [%s] }
""" % (self.name, url, self.name, TOKEN, self.name, self.name, ", ".join(TYPES)))

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
            with self._wrapped(s) as wrapped, wrapped.makefile("rb") as stream:
                while self._request(wrapped, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.sockets.discard(s)
            s.close()

    def _wrapped(self, s):
        if self.tls is None:
            return s
        # One that hangs does so in the middle of the handshake, at times.
        if self.mode == "hang" and self.rng.random() < 0.5:
            s.recv(1)
            raise OSError
        wrapped = self.tls.wrap_socket(s, server_side=True, suppress_ragged_eofs=True)
        with self.lock:
            self.sockets.discard(s)
            self.sockets.add(wrapped)
        return wrapped

    def _way(self, txn):
        """What it does with this request."""
        mode = self.mode
        if mode == "mixed":
            mode = self.rng.choice(list(WAYS))
        if mode == "poison":
            # The same for each try of a transaction.
            dice = hashlib.sha256(txn.encode()).digest()[0]
            mode = "take" if dice % 3 else REFUSALS[dice // 3 % 3]
        return mode

    def _request(self, s, stream):
        """One request; whether the connection stays open."""
        line = stream.readline()
        if not line:
            return False
        path = line.decode().split()[1].partition("?")[0]
        txn = path.rpartition("/")[2]
        with self.lock:
            self.requests += 1
            way = self._way(txn)
            if self.wire == "legacy" and path.startswith(NEW_PATH) and WAYS.get(way):
                way = "new path"
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
        if way == "cut in the body":
            stream.read(self.rng.randint(0, length))
            return False
        body = stream.read(length)
        if len(body) < length:
            return False  # the sender was killed; nothing arrived
        if way == "take later":
            time.sleep(0.2)
        self._look(path, txn, headers, body, way, s)
        return self._answer(s, way)

    def _look(self, path, txn, headers, body, way, s):
        with self.lock:
            if headers.get("authorization") != "Bearer %s-%s" % (TOKEN, self.name):
                self.wrong.append("a wrong token")
            if headers.get("content-type") != "application/json":
                self.wrong.append("a body of another type")
            if path not in (OLD_PATH + txn, NEW_PATH + txn):
                self.wrong.append("a path that is none: " + path)
            self.hashes.setdefault(txn, set()).add(hashlib.sha256(body).hexdigest())
            self.refused[txn] += way in REFUSALS
            if txn in self.known:
                self.repeated += 1
                # What was on its way when its sender was killed comes when it comes.
                if self.known[txn] != len(self.taken) - 1 and lives(s):
                    self.late.append((time.monotonic(), txn))
            elif WAYS.get(way):
                self._take(txn, json.loads(body), s)

    def _take(self, txn, content, s):
        if set(content) != {"events", "m.synthetic_events"} or content["events"] != []:
            self.wrong.append("keys of a body: %s" % list(content))
        if self.wire != "unix":
            self.peer = s.getpeername()[1]
        self.known[txn] = len(self.taken)
        self.taken.append(Taken(txn, content["m.synthetic_events"]))
        self.seen.update(logs.of_event(e) for e in content["m.synthetic_events"])

    def _answer(self, s, way):
        if way in ("cut", "take, cut"):
            return False
        if way in ("hang", "take, hang"):
            s.recv(1)  # until either side cuts the connection
            return False
        if way == "garbage":
            s.sendall(b"\0\1\2 no protocol that is known\r\n\r\n")
            return False
        if way == "take, endless":
            s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                s.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        if way == "take, 100 first":
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = self._text(way)
        if way == "take, cut within":
            s.sendall(answer[:self.rng.randrange(len(answer))])
            return False
        if way == "take slowly":
            for i in range(len(answer)):
                s.sendall(answer[i:i + 1])
                time.sleep(0.003)
            return True
        s.sendall(answer)
        return True

    def _text(self, way):
        status = 202 if way == "take, odd" else 200 if WAYS.get(way) else 404
        status = int(way) if way.isdigit() else status
        more = RETRY_AFTER if status in (429, 503) else ""
        more += "Location: http://127.0.0.1:1/\r\n" if status == 307 else ""
        body = '{"errcode":"M_UNRECOGNIZED"}' if way == "new path" else "{}"
        return ("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s"
                % (status, more, len(body), body)).encode()
