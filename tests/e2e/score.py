#!/usr/bin/env python3
"""Compare events that were told from a log with what truly happened.

usage: score.py [--slack MS] [--untimed] [--show] EVENTS TRUTH...

EVENTS has one event a line, {"type", "content", "ts"}; - is standard input.
TRUTH is described in tests/captures/README.md.

true   events that the acts of the truth must tell
open   of these, those that the log names the user of
told   an event of that type and user, stamped while the act was under way
exact  told, with every field that the truth has
false  an account event that no act explains
"""
import argparse
import collections
import json
import sys

TYPES = ("m.user.registration", "m.user.login", "m.user.logout", "m.user.deactivated")

# Acts that were accepted and made the server write an event's very lines,
# though none is due: a device is "deleted" that never was, a finished
# registration is sent once more and gets a session.  No reader of the log can
# know better, so such an event is neither told nor false.
UNKNOWABLE = {
    "register[same finished session again]": "m.user.login",
    "register[finished session, other name]": "m.user.login",
    "devices/DELETE[no such device]": "m.user.logout",
    "delete_devices[none]": "m.user.logout",
    "logout(appservice token, as its user)": "m.user.logout",
}


class Due:
    """One event that an act must tell, or (with may) may tell."""

    def __init__(self, act, type_, content, may=False):
        self.type = type_
        self.content = content
        self.user = content.get("user_id")
        self.t0, self.t1, self.via = act["t0"], act["t1"], act["via"]
        self.open = not act.get("unnamed", False)
        self.may = may

    def in_time(self, event, slack):
        return slack is None or self.t0 - slack <= event["ts"] <= self.t1 + slack

    def equals(self, event):
        content = event["content"]
        return all(k in content and content[k] == v for k, v in self.content.items())

    def agrees(self, event):
        """A field may be missing, but none may say something else."""
        return all(event["content"].get(k, v) == v for k, v in self.content.items())


def stable(type_):
    """The plain name of a type that was told under an unstable prefix."""
    if type_.startswith("uk.half-shot.msc") and ".user." in type_:
        return "m.user." + type_.rsplit(".", 1)[1]
    return type_


def read_jsonl(path):
    with (sys.stdin if path == "-" else open(path, encoding="utf-8")) as f:
        return [json.loads(line) for line in f if line.strip()]


def dues_of(acts):
    """The events that must be told, and those that may be."""
    must, may = [], []
    for act in acts:
        if act["ok"] and act["via"] in UNKNOWABLE:
            may.append((act, UNKNOWABLE[act["via"]]))
        for event in act["events"]:
            if act.get("ambiguous"):
                may.append((act, event["type"]))
            else:
                must.append(Due(act, event["type"], event["content"]))
    return must, may


def take(pool, fits):
    """Remove the first of pool that fits, and return it."""
    for i, event in enumerate(pool):
        if fits(event):
            return pool.pop(i)
    return None


def forgive(may, event, slack):
    """Whether event is one that may be told; each act forgives one."""
    user = event["content"].get("user_id") or ""
    for i, (act, type_) in enumerate(may):
        in_time = slack is None or act["t0"] - slack <= event["ts"] <= act["t1"] + slack
        named = act.get("user") is None or user.startswith("@%s:" % act["user"])
        if type_ == stable(event["type"]) and in_time and named:
            del may[i]
            return True
    return False


class Score:
    """slack is in milliseconds; None leaves time out, for logs without any."""

    def __init__(self, events, acts, slack=2000):
        must, may = dues_of(acts)
        pools = collections.defaultdict(list)
        self.extensions = 0
        for event in events:
            if stable(event["type"]) in TYPES:
                key = stable(event["type"]), event["content"].get("user_id")
                pools[key].append(event)
            else:
                self.extensions += 1

        # Whole matches first, lest an event is spent on an act that it only
        # resembles.
        self.exact, self.partial, self.missed = [], [], []
        rest = []
        for due in must:
            hit = take(pools[due.type, due.user],
                       lambda e, d=due: d.in_time(e, slack) and d.equals(e))
            (self.exact if hit else rest).append(due)
        for due in rest:
            hit = take(pools[due.type, due.user],
                       lambda e, d=due: d.in_time(e, slack) and d.agrees(e))
            (self.partial if hit else self.missed).append(due)

        over = sorted((e for pool in pools.values() for e in pool), key=lambda e: e["ts"])
        self.false = [e for e in over if not forgive(may, e, slack)]
        self.forgiven = len(over) - len(self.false)
        self.must = must

    def rows(self):
        """(type, true, open, told, exact, false) for each type there is."""
        def count(dues):
            return collections.Counter(d.type for d in dues)

        true, seen = count(self.must), count(d for d in self.must if d.open)
        exact, partial = count(self.exact), count(self.partial)
        false = collections.Counter(stable(e["type"]) for e in self.false)
        return [(t, true[t], seen[t], exact[t] + partial[t], exact[t], false[t])
                for t in TYPES if true[t] or false[t]]

    def complete(self):
        """All that the log can tell was told exactly, and nothing else was."""
        return not self.false and not self.partial and not any(d.open for d in self.missed)

    def table(self):
        lines = ["%-22s %6s %6s %6s %6s %6s" % ("type", "true", "open", "told", "exact", "false")]
        lines += ["%-22s %6d %6d %6d %6d %6d" % row for row in self.rows()]
        return lines

    def faults(self):
        """A line for everything that is not as it should be."""
        for d in self.missed:
            if d.open:
                yield "missed  %s %s, %s at %d" % (d.type, json.dumps(d.content), d.via, d.t0)
        for d in self.partial:
            yield "partial %s %s, %s at %d" % (d.type, json.dumps(d.content), d.via, d.t0)
        for e in self.false:
            yield "false   " + json.dumps(e)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("events")
    ap.add_argument("truth", nargs="+")
    ap.add_argument("--slack", type=int, default=2000, metavar="MS")
    ap.add_argument("--untimed", action="store_true", help="the log's lines have no time")
    ap.add_argument("--show", action="store_true", help="print each fault")
    args = ap.parse_args()

    acts = [act for path in args.truth for act in read_jsonl(path)]
    score = Score(read_jsonl(args.events), acts, None if args.untimed else args.slack)
    print("\n".join(score.table()))
    if score.forgiven or score.extensions:
        print("forgiven: %d, other types: %d" % (score.forgiven, score.extensions))
    if args.show:
        for line in score.faults():
            print(line)
    return 1 if score.false else 0


if __name__ == "__main__":
    sys.exit(main())
