"""Act on a Synapse over HTTP, and write down what must be told of it.

What it writes is described in tests/captures/README.md.
"""
import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

CLIENT = "/_matrix/client/v3"
ADMIN = "/_synapse/admin"
PASSWORD = "correct horse battery"


def now():
    return time.time_ns() // 1000000


def quoted(text):
    return urllib.parse.quote(text, safe="")


class User:
    """A user as the driver knows him: his devices with their tokens."""

    def __init__(self, name, server, password=PASSWORD):
        self.name = name
        self.id = "@%s:%s" % (name, server)
        self.password = password
        self.devices = {}

    def token(self):
        return next(iter(self.devices.values()))

    def keep(self, answer):
        if "access_token" in answer:
            self.devices[answer["device_id"]] = answer["access_token"]


class Server:
    """Requests, and the truth about those that are acts."""

    def __init__(self, base, name, truth):
        self.base = base
        self.name = name
        self.truth = truth
        self.lock = threading.Lock()

    def request(self, method, path, body=None, token=None):
        """The status and the answer; 0 where none came."""
        headers = {"Content-Type": "application/json", "User-Agent": "hearsay-drift/1"}
        if token is not None:
            headers["Authorization"] = "Bearer " + token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                try:
                    return refused.code, json.load(refused)
                except ValueError:
                    return refused.code, {}
        except OSError:
            return 0, {}

    def act(self, via, user, make, events=lambda answer: [], **more):
        """
        Make a request and write down what it must tell if it is accepted.
        What it answered; empty if it was refused.
        """
        begun = now()
        status, answer = make()
        good = 200 <= status < 300
        line = {"t0": begun, "t1": now(), "via": via, "ok": good, "status": status,
                "user": user, "events": events(answer) if good else [], **more}
        with self.lock:
            self.truth.write(json.dumps(line) + "\n")
        return answer if good else {}

    def confirmed(self, method, path, body, token, user):
        """A request that has to be confirmed by the user's password, or by nothing."""
        status, answer = self.request(method, path, body, token)
        if status == 401 and "session" in answer:
            auth = {"type": "m.login.dummy", "session": answer["session"]}
            if token is not None:
                auth.update({"type": "m.login.password", "password": user.password,
                             "identifier": {"type": "m.id.user", "user": user.name}})
            status, answer = self.request(method, path, {**body, "auth": auth}, token)
        return status, answer


# ---- What must be told -----------------------------------------------------------


def registered(user):
    return [{"type": "m.user.registration", "content": {"user_id": user}}]


def logged_in(user, device):
    return [{"type": "m.user.login", "content": {"user_id": user, "device_id": device}}]


def logged_out(user, devices):
    return [{"type": "m.user.logout",
             "content": {"user_id": user, "device_id": d, "soft_logout": False}} for d in devices]


def deactivated(user, devices):
    return logged_out(user, devices) + [{"type": "m.user.deactivated",
                                         "content": {"user_id": user}}]


# ---- Acts ----------------------------------------------------------------------


def register(server, name, **body):
    """Somebody registers; unnamed: the log can't say whom."""
    user = User(name, server.name)
    unnamed = {"unnamed": True} if body.get("inhibit_login") else {}
    answer = server.act(
        "register", name,
        lambda: server.confirmed("POST", CLIENT + "/register",
                                 {"username": name, "password": PASSWORD, **body}, None, user),
        lambda a: registered(a["user_id"]), **unnamed)
    user.keep(answer)
    return user


def register_guest(server):
    server.act("register(guest)", None,
               lambda: server.request("POST", CLIENT + "/register?kind=guest", {}),
               lambda a: registered(a["user_id"]), unnamed=True)


def register_by_secret(server, name, secret, admin=False):
    """As register_new_matrix_user does."""
    user = User(name, server.name)
    path = ADMIN + "/v1/register"
    nonce = server.request("GET", path)[1]["nonce"]
    parts = (nonce, name, PASSWORD, "admin" if admin else "notadmin")
    mac = hmac.new(secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
    user.keep(server.act(
        "admin/register", name,
        lambda: server.request("POST", path, {
            "nonce": nonce, "username": name, "password": PASSWORD, "admin": admin, "mac": mac}),
        lambda a: registered(a["user_id"])))
    return user


def login(server, user, **body):
    answer = server.act(
        "login", user.name,
        lambda: server.request("POST", CLIENT + "/login", {
            "type": "m.login.password", "password": user.password,
            "identifier": {"type": "m.id.user", "user": user.name}, **body}),
        lambda a: logged_in(a["user_id"], a["device_id"]))
    user.keep(answer)
    return answer


def refresh(server, user):
    """New tokens are no new login."""
    answer = login(server, user, refresh_token=True)
    answer = server.act(
        "refresh", user.name,
        lambda: server.request("POST", CLIENT + "/refresh",
                               {"refresh_token": answer["refresh_token"]}))
    if answer:
        user.devices[list(user.devices)[-1]] = answer["access_token"]


def login_by_token(server, user):
    status, answer = server.confirmed(
        "POST", "/_matrix/client/v1/login/get_token", {}, user.token(), user)
    if status != 200:
        return
    user.keep(server.act(
        "login(token)", user.name,
        lambda: server.request("POST", CLIENT + "/login", {
            "type": "m.login.token", "token": answer["login_token"]}),
        lambda a: logged_in(a["user_id"], a["device_id"])))


def logout(server, user):
    device, token = user.devices.popitem()
    server.act("logout", user.name, lambda: server.request("POST", CLIENT + "/logout", {}, token),
               lambda a: logged_out(user.id, [device]))
    return token


def logout_all(server, user):
    token, gone = user.token(), list(user.devices)
    user.devices = {}
    server.act("logout/all", user.name,
               lambda: server.request("POST", CLIENT + "/logout/all", {}, token),
               lambda a: logged_out(user.id, gone))


def delete_devices(server, user, gone, by_list):
    """One by its own address, or several in a list."""
    token = user.token()
    for device in gone:
        del user.devices[device]
    method, path, body = "DELETE", CLIENT + "/devices/" + quoted(gone[0]), {}
    if by_list:
        method, path, body = "POST", CLIENT + "/delete_devices", {"devices": gone}
    server.act("delete_devices" if by_list else "devices/DELETE", user.name,
               lambda: server.confirmed(method, path, body, token, user),
               lambda a: logged_out(user.id, gone))


def change_password(server, user, password, others_end):
    own = next(iter(user.devices))
    gone = [d for d in user.devices if d != own] if others_end else []
    token = user.token()
    if server.act("account/password", user.name,
                  lambda: server.confirmed(
                      "POST", CLIENT + "/account/password",
                      {"new_password": password, "logout_devices": others_end}, token, user),
                  lambda a: logged_out(user.id, gone)) is not None:
        user.password = password
    for device in gone:
        del user.devices[device]


def deactivate(server, user):
    gone, token = list(user.devices), user.token()
    server.act("account/deactivate", user.name,
               lambda: server.confirmed("POST", CLIENT + "/account/deactivate",
                                        {"erase": False}, token, user),
               lambda a: deactivated(user.id, gone))
    user.devices = {}


# ---- What is driven ------------------------------------------------------------------


def drive_user(server):
    """All that a user can do by himself."""
    ada = register(server, "ada")
    for _ in range(4):
        login(server, ada)
    login(server, ada, device_id="KITCHEN")
    login(server, ada, device_id="KITCHEN", password="a wrong one")
    refresh(server, ada)
    login_by_token(server, ada)
    delete_devices(server, ada, [list(ada.devices)[1]], False)
    delete_devices(server, ada, list(ada.devices)[2:4], True)
    dead = logout(server, ada)
    server.act("logout[dead token]", ada.name,
               lambda: server.request("POST", CLIENT + "/logout", {}, dead))
    change_password(server, ada, "a second password", False)
    login(server, ada)
    change_password(server, ada, "a third password", True)
    login(server, ada)
    logout_all(server, ada)
    login(server, ada)
    login(server, ada)
    deactivate(server, ada)
    login(server, ada)
    bert = User("nobody", server.name)
    login(server, bert)
    register(server, "ada")
    register(server, "carl", inhibit_login=True)
    register_guest(server)


def drive_admin(server, admin):
    """All that an administrator can do to a user."""
    eve = User("eve", server.name)
    path = ADMIN + "/v2/users/" + quoted(eve.id)

    def asked(via, method, to, body, events=lambda a: []):
        return server.act(via, eve.name,
                          lambda: server.request(method, to, body, admin.token()), events)

    asked("admin/users(new)", "PUT", path, {"password": PASSWORD}, lambda a: registered(eve.id))
    asked("admin/users(change)", "PUT", path, {"displayname": "Eve"})
    asked("admin/login", "POST", ADMIN + "/v1/users/%s/login" % quoted(eve.id), {})
    for _ in range(4):
        login(server, eve)
    one, *two = list(eve.devices)[:3]
    asked("admin/devices/DELETE", "DELETE", path + "/devices/" + one, None,
          lambda a: logged_out(eve.id, [one]))
    asked("admin/delete_devices", "POST", path + "/delete_devices", {"devices": two},
          lambda a: logged_out(eve.id, two))
    last = list(eve.devices)[3:]
    eve.devices = {}
    asked("admin/reset_password", "POST", ADMIN + "/v1/reset_password/" + quoted(eve.id),
          {"new_password": "another password", "logout_devices": True},
          lambda a: logged_out(eve.id, last))
    eve.password = "another password"
    login(server, eve)
    asked("admin/deactivate", "POST", ADMIN + "/v1/deactivate/" + quoted(eve.id), {"erase": False},
          lambda a: deactivated(eve.id, eve.devices))

    fay = register(server, "fay")
    asked("admin/users(deactivate)", "PUT", ADMIN + "/v2/users/" + quoted(fay.id),
          {"deactivated": True}, lambda a: deactivated(fay.id, fay.devices))


def drive_appservice(server, token):
    """An application service makes a user, and acts for him."""
    ghost = User("_ghost_one", server.name)
    ghost.keep(server.act(
        "register(appservice)", ghost.name,
        lambda: server.request("POST", CLIENT + "/register", {
            "type": "m.login.application_service", "username": ghost.name}, token),
        lambda a: registered(ghost.id)))
    ghost.keep(server.act(
        "login(appservice)", ghost.name,
        lambda: server.request("POST", CLIENT + "/login", {
            "type": "m.login.application_service",
            "identifier": {"type": "m.id.user", "user": ghost.name}}, token),
        lambda a: logged_in(ghost.id, a["device_id"])))
    if ghost.devices:
        logout(server, ghost)


def drive_crowd(server, clients=4, rounds=5):
    """Several at once: their requests' lines mix."""
    def one(number):
        user = register(server, "crowd%d" % number)
        for turn in range(rounds):
            login(server, user)
            login(server, user)
            if turn % 2:
                logout_all(server, user)
            else:
                logout(server, user)
        login(server, user)
        deactivate(server, user)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def drive(base, name, secret, appservice, path):
    """Everything; its truth goes to the file at path.  The number of acts."""
    with open(path, "w", encoding="utf-8") as truth:
        server = Server(base, name, truth)
        admin = register_by_secret(server, "root", secret, admin=True)
        register_by_secret(server, "dora", secret)
        drive_user(server)
        drive_admin(server, admin)
        drive_appservice(server, appservice)
        drive_crowd(server)
    with open(path, encoding="utf-8") as truth:
        return sum(1 for _ in truth)
