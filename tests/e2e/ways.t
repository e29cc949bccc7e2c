#!/usr/bin/env python3
"""The ways to a receiver: Unix socket, TLS with all that belongs to it, proxy."""
import http.server
import json
import os
import shutil
import socketserver
import ssl
import subprocess
import threading

import lib


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.take(self.path, json.loads(body), self.headers)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *unused):
        pass

    def address_string(self):
        return "somewhere"


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A receiver in this process; keeps the events and the paths that it got."""
    daemon_threads = True

    def __init__(self, address=("127.0.0.1", 0), context=None):
        super().__init__(address, Handler)
        self.events, self.paths, self.tokens, self.seen = [], set(), set(), set()
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True,
                                              do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *unused):
        """A client that does not like our certificate is what some tests are about."""

    def take(self, path, body, headers):
        self.paths.add(path.rsplit("/", 1)[0])
        self.tokens.add(headers["Authorization"])
        if path not in self.seen:
            self.events += [lib.same(e) for e in body["m.synthetic_events"]]
        self.seen.add(path)

    def url(self, scheme="http"):
        return "%s://127.0.0.1:%d" % (scheme, self.server_address[1])

    def stop(self):
        self.shutdown()
        self.server_close()


class IPv6Server(Server):
    address_family = lib.socket.AF_INET6

    def __init__(self):
        super().__init__(("::1", 0))

    def url(self, scheme="http"):
        return "%s://[::1]:%d" % (scheme, self.server_address[1])


class UnixServer(Server):
    address_family = lib.socket.AF_UNIX

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0


class Place:
    """A log, and a run that delivers it to url."""

    def __init__(self, tap):
        self.tap = tap
        self.folder = lib.Folder()
        self.folder.__enter__()
        data, _ = lib.capture("synapse-text")
        self.want = lib.replay_listed(data, self.folder)
        self.log = self.folder / "homeserver.log"
        with open(self.log, "wb") as f:
            f.write(data)

    def deliver(self, url, extra="", **more):
        """run until all arrived at the server, or an attempt failed; the last error."""
        registration, config = self.folder / "appservice.yaml", self.folder / "hearsay.conf"
        lib.write_registration(registration, 1)
        with open(registration, encoding="utf-8") as f:
            text = f.read().replace("http://127.0.0.1:1", url)
        with open(registration, "w", encoding="utf-8") as f:
            f.write(text)
        lib.write_config(config, self.folder, registration, self.log, extra=extra)
        run = lib.Program(["run", "-c", config], self.folder / "run.log", **more)
        try:
            return lib.wait_for(lambda: self._end(config, run), "an end")["last_error"]
        finally:
            self.tap.equal(run.terminate(), 0, "run ends cleanly")

    def _end(self, config, run):
        if not run.running():
            raise RuntimeError("run ended: " + run.said())
        out = lib.hearsay("status", "-c", config, "--json")
        if out.returncode != 0:
            return None
        for q in json.loads(out.stdout)["appservices"]:
            if q["last_failure_ms"] or q["accepted"] == len(self.want):
                return q
        return None

    def forget(self):
        for name in os.listdir(self.folder.path):
            if name.startswith("hearsay.db"):
                os.remove(self.folder / name)

    def close(self):
        self.folder.__exit__()


def arrives(tap, place, server, name, url, extra="", **more):
    place.forget()
    error = place.deliver(url, extra, **more)
    tap.ok(error is None and server.events == place.want, name,
           "error %r, %d events" % (error, len(server.events)))
    server.stop()


def fails(tap, place, name, why, url, extra=""):
    place.forget()
    error = place.deliver(url, extra) or ""
    tap.ok(any(w in error for w in why), name, error)


def unix_sockets(tap, place):
    path = place.folder / "receiver.sock"
    server = UnixServer(path)
    arrives(tap, place, server, "unix://", "unix://" + path)
    tap.equal(server.paths, {"/_matrix/app/v1/transactions"}, "with the plain path")
    os.remove(path)
    server = UnixServer(path)
    arrives(tap, place, server, "http+unix://",
            "http+unix://" + path.replace("/", "%2F") + "/base/")
    tap.equal(server.paths, {"/base/_matrix/app/v1/transactions"}, "with the path of the url")
    os.remove(path)
    fails(tap, place, "a socket that is not there", ["onnect"], "unix://" + path)


def ipv6(tap, place):
    try:
        server = IPv6Server()
    except OSError as e:
        tap.ok(True, "IPv6 # SKIP the machine has none: %s" % e)
        return
    arrives(tap, place, server, "IPv6", server.url())


def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


def make_certificates(folder):
    """A CA, a server's and a client's certificate by it, and a CA of nobody."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for ca in ("ca", "other"):
        openssl(folder, "req", "-x509", *new, "-keyout", ca + ".key", "-out", ca + ".pem",
                "-subj", "/CN=" + ca, "-days", "2")
    with open(os.path.join(folder, "names"), "w", encoding="ascii") as f:
        f.write("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(folder, "req", *new, "-keyout", name + ".key", "-out", name + ".csr",
                "-subj", "/CN=" + name)
        openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2",
                "-out", name + ".pem")
    with open(os.path.join(folder, "both.pem"), "wb") as out:
        for part in ("client.pem", "client.key"):
            with open(os.path.join(folder, part), "rb") as f:
                out.write(f.read())


def tls_server(folder, client_ca=False, newest=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if newest:
        context.maximum_version = newest
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    return Server(context=context)


def way(**settings):
    return "appservices = ( { id = \"audit\"; %s } );" % "".join(
        "%s = \"%s\"; " % pair for pair in settings.items())


def tls(tap, place):
    folder = place.folder
    make_certificates(folder.path)
    ca = folder / "ca.pem"

    server = tls_server(folder)
    fails(tap, place, "a CA that nobody knows is refused", ["certificate"], server.url("https"))
    fails(tap, place, "another CA than the receiver's is refused", ["certificate"],
          server.url("https"), way(ca=folder / "other.pem"))
    fails(tap, place, "a name that the certificate has not is refused", ["subject name"],
          server.url("https").replace("127.0.0.1", "localhost"), way(ca=ca))
    tap.equal(server.events, [], "nothing was sent to any of them")
    arrives(tap, place, server, "a CA of our own", server.url("https"), way(ca=ca))

    server = tls_server(folder, client_ca=True)
    # In TLS 1.3 the refusal comes after our handshake, and may meet the request.
    fails(tap, place, "without a certificate that the receiver wants",
          ["alert", "certificate", "SSL", "onnect", "Broken pipe"], server.url("https"), way(ca=ca))
    tap.equal(server.events, [], "nothing arrives")
    arrives(tap, place, server, "with certificate and key", server.url("https"),
            way(ca=ca, certificate=folder / "client.pem", key=folder / "client.key"))
    server = tls_server(folder, client_ca=True)
    arrives(tap, place, server, "with both in one file", server.url("https"),
            way(ca=ca, certificate=folder / "both.pem"))

    server = tls_server(folder, newest=ssl.TLSVersion.TLSv1_2)
    fails(tap, place, "TLS 1.2 is not enough for tls_min = 1.3", ["alert", "version", "SSL"],
          server.url("https"), way(ca=ca, tls_min="1.3"))
    arrives(tap, place, server, "and is otherwise", server.url("https"), way(ca=ca))


def http2(tap, place):
    """nghttpd speaks nothing else, and tells each frame."""
    port, said = lib.free_port(), place.folder / "nghttpd.log"
    with open(said, "wb") as f:
        process = subprocess.Popen(
            ["nghttpd", "-v", "--echo-upload", "-d", place.folder.path, str(port), "server.key",
             "server.pem"], cwd=place.folder.path, stdout=f, stderr=f)
    try:
        lib.wait_for(lambda: answers(port), "nghttpd")
        place.forget()
        error = place.deliver("https://127.0.0.1:%d" % port, way(ca=place.folder / "ca.pem"))
        with open(said, encoding="utf-8", errors="replace") as f:
            text = f.read()
        tap.ok(error is None and ":method: PUT" in text and "stream_id=" in text,
               "HTTP/2 over TLS", "%r\n%s" % (error, text[:2000]))
    finally:
        process.terminate()
        process.wait()


def answers(port):
    with lib.socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def proxies(tap, place):
    nowhere = "http://127.0.0.1:%d" % lib.free_port()
    env = dict(os.environ, http_proxy=nowhere, all_proxy=nowhere, no_proxy="127.0.0.1")
    server = Server()
    arrives(tap, place, server, "a proxy of the environment does not count", server.url(),
            env=env)
    proxy = Server()
    arrives(tap, place, proxy, "a proxy of the configuration does", "http://nowhere.invalid/a",
            way(proxy=proxy.url()), env=env)
    tap.equal(proxy.paths, {"http://nowhere.invalid/a/_matrix/app/v1/transactions"},
              "and is asked for the whole url")


def main():
    tap = lib.Tap()
    place = Place(tap)
    try:
        unix_sockets(tap, place)
        ipv6(tap, place)
        if shutil.which("openssl"):
            tls(tap, place)
            if shutil.which("nghttpd"):
                http2(tap, place)
            else:
                tap.ok(True, "HTTP/2 # SKIP there is no nghttpd to speak it with")
        else:
            tap.ok(True, "TLS # SKIP there is no openssl to make certificates with")
        proxies(tap, place)
    finally:
        place.close()
    tap.done()


main()
