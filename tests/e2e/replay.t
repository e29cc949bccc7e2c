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


def main():
    tap = lib.Tap()
    rng = lib.seeded(tap)
    with lib.Folder() as folder:
        data, events = check_capture(tap, folder, "synapse-text")
        check_pieces(tap, folder, data, events, rng)
        check_capture(tap, folder, "synapse-terse-json")
        out = lib.hearsay("replay", "-P", lib.PATTERNS, folder / "nothing.log")
        tap.ok(out.returncode == 1 and "nothing.log" in out.stderr,
               "a file that is not there is named", out.stderr)
    tap.done()


main()
