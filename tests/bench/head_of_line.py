#!/usr/bin/env python3
"""Do appservices that hang, fail and are gone delay one that is fast?

    HEARSAY=… tests/bench/head_of_line.py [--postgresql] [--rounds N] [--lines N]

The time from a line's writing until the request with its event is at a fast
appservice: while three others are on hold, while they are fast too, and while one
hangs, one answers 500 and one is gone.  The three take turns within each round, so
that what the machine does meanwhile concerns all.  Not a test: nothing here fails,
since the ratio of such times is the machine's, too.
"""
import argparse
import collections
import datetime
import http.server
import json
import os
import random
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import lib  # noqa: E402
import postgres  # noqa: E402

PACK = os.path.join(os.path.dirname(HERE), "torture", "pack")
TURNS = {"the others on hold": "hold", "the others fast": "take", "the others ill": "ill"}
PAUSE = 0.05  # seconds between two lines, at least: else hearsay reads them together


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body of an answer in one packet

    def do_PUT(self):
        at = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.appservice.status(at, body["m.synthetic_events"])
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # who waited for an answer in vain has cut it

    def log_message(self, *unused):
        pass


class Appservice:
    """Takes what comes, but when it is ill: then it is as its illness says."""

    def __init__(self, folder, name, illness=None):
        self.name, self.illness, self.ill = name, illness, False
        self.times = {}  # by an event's number: when its first request that was taken came
        self.refused = 0
        self.healed = threading.Event()
        self.port = lib.free_port()
        self.registration = folder / (name + ".yaml")
        with open(self.registration, "w", encoding="utf-8") as f:
            f.write("""id: %s
url: http://127.0.0.1:%d
as_token: an-as-token-of-%s
hs_token: an-hs-token-of-%s
sender_localpart: %s
namespaces:
  users:
    - exclusive: false
      regex: "@.*"
      m.synthetic_events: { events: [m.user.login] }
""" % (name, self.port, name, name, name))
        self.up()

    def up(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.appservice = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self):
        self.server.shutdown()
        self.server.server_close()

    def status(self, at, events):
        """What is answered; None to cut the connection."""
        if not self.ill:
            for event in events:
                self.times.setdefault(int(event["content"]["device_id"]), at)
            return 200
        self.refused += 1
        if self.illness == "hang":
            self.healed.wait()
        return 500 if self.illness == "fail" else None

    def fall_ill(self):
        self.healed.clear()
        self.ill = True
        if self.illness == "gone":
            self.down()

    def heal(self):
        if self.ill and self.illness == "gone":
            self.up()
        self.ill = False
        self.healed.set()


class Bench:
    def __init__(self, folder, store):
        self.fast = Appservice(folder, "fast")
        self.others = [Appservice(folder, name, name) for name in ("hang", "fail", "gone")]
        self.log, self.config = folder / "server.log", folder / "hearsay.conf"
        self.written = {}  # by number
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""store = "%s"; patterns = [ "%s" ]; registrations = [ %s ];
servers = ( { name = "%s"; pack = "torture"; timezone = "UTC";
              logs = ( { path = "%s"; start = "beginning"; } ); } );
send = { backoff_min = 1; backoff_max = 1; first_byte_timeout = 1; };
""" % (store or folder / "hearsay.db", PACK,
                ", ".join('"%s"' % a.registration for a in [self.fast] + self.others),
                lib.SERVER, self.log))
        self.run = lib.Run(self.config, folder / "run.log")
        lib.wait_for(lambda: "started" in self.run.said(), "the start")

    def queue(self, action):
        for one in self.others:
            out = lib.hearsay("queue", action, "-c", self.config, one.name)
            if out.returncode != 0:
                raise RuntimeError("queue %s: %s" % (action, out.stderr))

    def turn(self, kind, lines):
        """The latencies of so many lines, in seconds; all is well and empty behind it."""
        if kind == "hold":
            self.queue("hold")
        if kind == "ill":
            for one in self.others:
                one.fall_ill()
        numbers = self.write(lines)
        self.wait([self.fast])
        for one in self.others:
            one.heal()
        if kind == "hold":
            self.queue("release")
        self.wait(self.others)
        return [self.fast.times[n] - self.written[n] for n in numbers]

    def write(self, lines):
        numbers = range(len(self.written), len(self.written) + lines)
        with open(self.log, "ab", buffering=0) as f:
            for number in numbers:
                now = datetime.datetime.now(datetime.timezone.utc)
                line = ("%sZ INFO torture[r-%d] @a:%s told at once: %d, and that is all\n" % (
                    now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3], number, lib.SERVER, number))
                self.written[number] = time.monotonic()
                f.write(line.encode())
                time.sleep(PAUSE * (1 + random.random()))
        return numbers

    def wait(self, appservices):
        lib.wait_for(lambda: all(len(a.times) == len(self.written) for a in appservices),
                     "all events at " + ", ".join(a.name for a in appservices))


def tell(name, times):
    """The median and the time that 95 of 100 do not exceed."""
    times.sort()
    out = statistics.median(times), times[len(times) * 95 // 100]
    print("%-20s %6d events   median %7.2f ms   95 %% %7.2f ms" % (
        name, len(times), 1000 * out[0], 1000 * out[1]))
    return out


def measure(given, store=None):
    times = collections.defaultdict(list)
    with lib.Folder() as folder:
        bench = Bench(folder, store)
        bench.turn("take", given.lines)  # all is warm behind this
        for _ in range(given.rounds):
            for name in random.sample(list(TURNS), len(TURNS)):
                times[name] += bench.turn(TURNS[name], given.lines)
        bench.run.terminate()
        hung, failed, _ = (one.refused for one in bench.others)
    print("%d requests hung, %d were answered with 500" % (hung, failed))
    held, well, ill = (tell(name, times[name]) for name in TURNS)
    for name, other in (("on hold", held), ("fast", well)):
        print("ratio of ill to %-8s median %.2f, 95 %% %.2f" % (
            name + ":", ill[0] / other[0], ill[1] / other[1]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", action="store_true", help="store there, in a server that does not sync")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--lines", type=int, default=40, help="of each turn")
    given = parser.parse_args()
    if not given.postgresql:
        measure(given)
        return
    if postgres.reason():
        sys.exit(postgres.reason())
    server = postgres.Server()
    try:
        server.start()
        measure(given, server.url)
    finally:
        server.remove()


main()
