#!/usr/bin/env python3
"""replay of the captures: all that the log can tell, exactly, and nothing else."""
import gzip
import os

import lib
import score


def check_capture(tap, folder, name):
    data, acts = lib.capture(name)
    path = os.path.join(lib.CAPTURES, name, "homeserver.log.gz")
    events = lib.replay(path)
    result = score.Score(events, acts)
    tap.ok(result.complete(), name + ": everything that the log can tell, exactly",
           "\n".join(result.table() + list(result.faults())))
    tap.equal([lib.same(e) for e in lib.replay(path, pack=None)], [lib.same(e) for e in events],
              name + ": the pack is found from the lines")

    plain = folder / (name + ".log")
    with open(plain, "wb") as f:
        f.write(data)
    tap.equal([lib.same(e) for e in lib.replay(plain)], [lib.same(e) for e in events],
              name + ": the same whether compressed or not")
    with open(plain, "rb") as f:
        out = lib.subprocess.run(
            [lib.HEARSAY, "replay", "-P", lib.PATTERNS, "-p", "synapse", "-s", lib.SERVER,
             "-z", "UTC", "-"], stdin=f, capture_output=True, check=False)
    tap.equal([lib.same(lib.json.loads(line)) for line in out.stdout.split(b"\n") if line],
              [lib.same(e) for e in events], name + ": the same from standard input")
    return data, events


def check_pieces(tap, folder, data, events, rng):
    """Pieces of one log, plain and compressed, given in any order."""
    stem = folder / "pieces.log"
    feeder = lib.Feeder(data, stem, rng, seconds=0)
    feeder.rotate("rename", 6)
    feeder.run()
    feeder.close()
    with open(stem + ".3", "rb") as f, gzip.open(stem + ".3.gz", "wb") as z:
        z.write(f.read())
    os.remove(stem + ".3")
    files = [os.path.join(folder.path, n) for n in os.listdir(folder.path)
             if n.startswith("pieces.log")]
    rng.shuffle(files)
    tap.equal([lib.same(e) for e in lib.replay(*files)], [lib.same(e) for e in events],
              "rotated pieces in any order are read as one log")


# A login, told by the second line.
LOGIN = (b"2026-11-23 10:00:01,000 - synapse.handlers.auth - 1 - INFO - POST-7 - "
         b"Logging in user @alice:example.test on device D\n"
         b"2026-11-23 10:00:02,000 - synapse.access.http.8008 - 1 - INFO - POST-7 - "
         b"::1 - 8008 - {None} Processed request: 0.1sec/0.0sec (0.0sec, 0.0sec) "
         b"(0.0sec/0.0sec/1) 1B 200 \"POST /_matrix/client/v3/login HTTP/1.1\" "
         b"\"x\" [0 dbevts]")


def check_half_a_line(tap, folder):
    """What has no newline may go on, but for what was rotated away."""
    path = folder / "half.log"
    for data, told in ((LOGIN + b"\n", 1), (LOGIN, 0)):
        with open(path, "wb") as f:
            f.write(data)
        out = lib.hearsay("replay", "-P", lib.PATTERNS, "-p", "synapse", "-s", lib.SERVER, path)
        tap.equal(out.stdout.count("\n"), told, "of a last line %r" % data[-2:])
        tap.equal("may go on" in out.stderr, told == 0, "and it is said so, or not")
    os.rename(path, path + ".1")
    with open(path, "wb"):
        pass
    tap.equal(len(lib.replay(path, path + ".1")), 1, "what was rotated away does not go on")


def main():
    tap = lib.Tap()
    rng = lib.seeded(tap)
    with lib.Folder() as folder:
        data, events = check_capture(tap, folder, "synapse-text")
        check_pieces(tap, folder, data, events, rng)
        check_half_a_line(tap, folder)
        check_capture(tap, folder, "synapse-terse-json")
        out = lib.hearsay("replay", "-P", lib.PATTERNS, folder / "nothing.log")
        tap.ok(out.returncode == 1 and "nothing.log" in out.stderr,
               "a file that is not there is named", out.stderr)
    tap.done()


main()
