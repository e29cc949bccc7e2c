"""Put a log into the envelopes of containers and collectors.

clock(line) is the collector's clock, as it takes that line.
"""
import datetime
import json
import re

PIECE = 16 * 1024  # where Docker and CRI runtimes cut a line


def _pieces(line, cut):
    """The line's pieces; cut(n) says how long the next one is, of n bytes left."""
    while True:
        n = cut(len(line))
        yield line[:n], n >= len(line)
        if n >= len(line):
            return
        line = line[n:]


def at_16_kib(left):
    return min(left, PIECE)


def lines_of(data):
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def docker(data, clock, cut=at_16_kib, stream="stdout", attrs=None):
    """
    json-file; bytes that are no UTF-8 become U+FFFD, as Docker makes them.  It
    does so, too, with a character that its cut falls into; not so here.
    """
    out = []
    for line in lines_of(data):
        for piece, last in _pieces(line.decode("utf-8", "replace"), cut):
            entry = {"log": piece + ("\n" if last else ""),
                     "stream": stream}
            if attrs:
                entry["attrs"] = attrs
            entry["time"] = clock(line).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
            for c, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"),
                              ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
                text = text.replace(c, escape)
            out.append(text.encode("utf-8", "surrogatepass") + b"\n")
    return b"".join(out)


def cri(data, clock, cut=at_16_kib, stream="stdout"):
    out = []
    for line in lines_of(data):
        for piece, last in _pieces(line, cut):
            head = clock(line).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            out.append(b"%s %s %s %s\n" % (
                head.encode(), stream.encode(), b"F" if last else b"P", piece))
    return b"".join(out)


def journal(data, clock, cut=at_16_kib, stream="aa"):
    """journalctl -o json --all, of a service's standard output."""
    out = []
    for n, line in enumerate(lines_of(data)):
        for piece, last in _pieces(line, cut):
            try:
                text = piece.decode()
                clean = text.isprintable()
            except UnicodeDecodeError:
                clean = False
            at = clock(line).replace(tzinfo=datetime.timezone.utc).timestamp()
            entry = {"__CURSOR": "s=1;i=%x" % n, "_SYSTEMD_UNIT": "hs.service", "PRIORITY": "6",
                     "_TRANSPORT": "stdout", "_STREAM_ID": stream,
                     "__REALTIME_TIMESTAMP": "%d" % (at * 1000000),
                     "MESSAGE": text if clean else list(piece)}
            if not last:
                entry["_LINE_BREAK"] = "line-max"
            out.append(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
                       + b"\n")
    return b"".join(out)


def _escaped(line):
    """Control characters as rsyslog writes them."""
    return re.sub(rb"[\0-\x1f\x7f]", lambda m: b"#%03o" % m[0][0], line)


def syslog_3164(data, clock, pri=b""):
    return b"".join(
        b"%s%s host1 synapse[4711]: %s\n"
        % (pri, clock(line).strftime("%b %e %H:%M:%S").encode(), _escaped(line))
        for line in lines_of(data))


def syslog_iso(data, clock):
    """What rsyslog writes unless it is told to write the traditional form."""
    return b"".join(
        b"%s host1 synapse[4711]: %s\n"
        % (clock(line).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00").encode(), _escaped(line))
        for line in lines_of(data))


def syslog_5424(data, clock):
    return b"".join(
        b'<30>1 %s host1 synapse 4711 - [origin ip="::1" x="a\\"]\\\\"][b@1] \xef\xbb\xbf%s\n'
        % (clock(line).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode(), _escaped(line))
        for line in lines_of(data))
