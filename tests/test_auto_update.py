"""Scripts that are kept up to date from a server: on request, when they are run, and from time to time."""

import base64
import os

import pytest

import box as boxes
from device import App, refusal

UPDATE_CFG = boxes.CISCO + "infra-script-mgmt-cfg"
UPDATES = "urn:procyon:update"

OLD = b'"""The old one."""\nprint("old", flush=True)\n'
NEW = b'"""The new one."""\nprint("new", flush=True)\n'

SHAPES = {
    "exec": "<execs><exec><exec-name>{}</exec-name><checksum><sha256>{}</sha256></checksum></exec></execs>",
    "process": "<processes><process><process-name>{}</process-name><checksum><sha256>{}</sha256></checksum></process></processes>",
}


class Kept:
    """A script on a server, and how it is kept up to date."""

    def __init__(self, box, session, server, name, kind="exec"):
        self.box, self.session, self.server, self.name, self.kind = box, session, server, name, kind
        self.serve(OLD)

    def serve(self, content):
        self.server.content["/s/" + self.name] = content

    def approve(self, content):
        entry = SHAPES[self.kind].format(self.name, boxes.sha256(content))
        self.box.configure(
            self.session, '<config xmlns="{}"><script xmlns="{}">{}</script></config>'.format(boxes.NETCONF, boxes.SCRIPT_CFG, entry)
        )

    def config(self, condition, more="", url=None, vrf="default"):
        return (
            '<config xmlns="{}"><scripts xmlns="{}"><{kind}-script><scripts><script><script-name>{}</script-name>'
            "<condition-{condition}><url>{}</url>{}<vrf>{vrf}</vrf></condition-{condition}></script></scripts></{kind}-script></scripts></config>"
        ).format(
            boxes.NETCONF, UPDATE_CFG, self.name, url or self.server.url + "/s", more, kind=self.kind, condition=condition, vrf=vrf
        )

    def keep(self, *arguments, **options):
        self.box.configure(self.session, self.config(*arguments, **options))

    def update(self, script=True):
        named = "<script-name>{}</script-name>".format(self.name) if script else ""
        request = "<update xmlns='{}'><condition>manual</condition><script-type>{}</script-type>{}</update>"
        return self.box.call(self.session, request.format(boxes.SCRIPT_ACT, self.kind, named)).xml

    def on_shelf(self):
        path = os.path.join(self.box.root, "harddisk", "mirror", "script-mgmt", self.kind, self.name)
        try:
            with open(path, "rb") as handle:
                return handle.read()
        except FileNotFoundError:
            return None

    def state(self):
        data = self.session.get(filter=("subtree", '<script-updates xmlns="{}"/>'.format(UPDATES))).data
        for row in data.iter("{%s}update" % UPDATES):
            leaves = {boxes.local(leaf): leaf.text for leaf in row}
            if leaves["script-name"] == self.name:
                return leaves
        return {}

    def result(self, wanted):
        return boxes.wait_for(wanted, lambda: (lambda seen: seen if wanted in seen.get("last-result", "") else None)(self.state()))

    def run(self):
        """What a run prints."""
        request = '<run xmlns="{}"><script-name>{}</script-name></run>'.format(boxes.SCRIPT_ACT, self.name)
        reply = self.box.call(self.session, request).xml
        number = reply.split("<request-id>")[1].split("<")[0]
        logs = os.path.join(self.box.root, "harddisk/mirror/script-mgmt/logs", "{}_exec_{}".format(self.name, number), "stdout.log")

        def printed():
            try:
                with open(logs) as handle:
                    return handle.read()
            except FileNotFoundError:
                return ""

        return boxes.wait_for("output", printed).strip()


@pytest.fixture
def kept(box, session, server, name):
    return Kept(box, session, server, name)


def test_a_script_is_fetched_on_request(kept):
    kept.approve(OLD)
    kept.keep("manual")
    assert kept.on_shelf() is None, "nobody has asked for it yet"
    assert "{} has been updated in the script repository".format(kept.name) in kept.update()
    assert kept.on_shelf() == OLD
    assert "{} is up to date".format(kept.name) in kept.update()
    assert kept.state()["last-result"] == "up to date"
    assert "Updated from {}/s by admin".format(kept.server.url) in kept.session.get(filter=("subtree", kept.box.script_filter())).xml


def test_what_is_not_approved_does_not_take_the_place_of_what_is(kept):
    kept.approve(OLD)
    kept.keep("manual")
    kept.update()
    kept.serve(NEW)
    error = refusal(kept.update)
    assert error.tag == "invalid-value" and "expected " + boxes.sha256(OLD) in error.message
    assert "checksum SHA256 {}` and commit".format(boxes.sha256(NEW)) in error.message
    assert kept.on_shelf() == OLD and "checksum of" in kept.state()["last-result"]
    assert "<status>False</status>" in kept.update(script=False), "of all, each is told"
    kept.approve(NEW)
    assert "has been updated" in kept.update() and kept.on_shelf() == NEW


def test_a_script_is_fetched_when_it_is_run(kept):
    kept.approve(OLD)
    kept.keep("runtime", "<failure>do-not-run</failure>")
    assert kept.run() == "old"
    kept.serve(NEW)
    error = refusal(kept.run)
    assert "is to be fetched when it is run, and cannot be" in error.message
    kept.approve(NEW)
    assert kept.run() == "new"
    del kept.server.content["/s/" + kept.name]
    assert "status 404" in refusal(kept.run).message
    kept.keep("runtime", "<failure>run-local</failure>")
    assert kept.run() == "new"
    lines = boxes.wait_for("a line of the log", lambda: [line for line in syslog(kept) if kept.name in line and "in the repository is run" in line])
    assert "status 404" in lines[0]


def syslog(kept):
    asked = '<syslog xmlns="{}infra-syslog-oper"><messages/></syslog>'.format(boxes.CISCO)
    return [node.text for node in kept.session.get(filter=("subtree", asked)).data.iter() if boxes.local(node) == "text"]


def test_an_app_is_fetched_when_somebody_starts_it(box, session, server, name):
    forever = b"import signal\nprint('one', flush=True)\nwhile True:\n    signal.pause()\n"
    app = App(box, session, name, forever)
    kept = Kept(box, session, server, name, "process")
    newer = forever.replace(b"one", b"two")
    kept.serve(newer)
    kept.approve(newer)
    kept.keep("runtime", "<failure>do-not-run</failure>")
    app.activate()
    assert kept.on_shelf() == newer
    app.act("stop")
    kept.server.content.clear()
    assert "status 404" in refusal(app.act, "start").message
    kept.serve(newer)
    app.act("start")
    app.wait(status="started")
    app.end()


def test_a_scheduled_script_comes_by_itself_and_when_another_is_approved(kept):
    kept.approve(OLD)
    kept.keep("schedule", "<update-interval>60</update-interval>")
    kept.result("updated")
    assert kept.on_shelf() == OLD and kept.state()["next-attempt"]
    kept.serve(NEW)
    kept.approve(NEW)
    boxes.wait_for("the new one", lambda: kept.on_shelf() == NEW)


def test_a_scheduled_script_that_cannot_be_had_is_told_and_tried_again(kept):
    kept.server.content.clear()
    kept.keep("schedule", "<update-interval>60</update-interval>")
    seen = kept.result("status 404")
    assert seen["next-attempt"] != seen["last-attempt"]
    lines = boxes.wait_for("a line of the log", lambda: [line for line in syslog(kept) if kept.name in line and "could not be updated" in line])
    assert "status 404" in lines[0]


def test_the_password_reaches_the_server_and_nobody_else(kept):
    secret = "c0rrect horse"
    seen = []

    def guarded(handler):
        seen.append(handler.headers.get("Authorization"))
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(OLD)))
        handler.end_headers()
        handler.wfile.write(OLD)

    kept.serve(guarded)
    kept.approve(OLD)
    account = "<username>robot</username><password>!{}</password>".format(secret)
    kept.keep("manual", account)
    kept.update()
    assert seen == ["Basic " + base64.b64encode("robot:{}".format(secret).encode()).decode()]
    # Written once more, it changes nothing.
    before = len(os.listdir(os.path.join(kept.box.root, "config", "commits")))
    kept.keep("manual", account)
    assert len(os.listdir(os.path.join(kept.box.root, "config", "commits"))) == before
    # What is read can be written back, and works as before.
    subtree = '<scripts xmlns="{}"/>'.format(UPDATE_CFG)
    running = kept.session.get_config("running", filter=("subtree", subtree)).xml
    assert secret not in running and "sealed:1:" in running
    sealed = running.split("<password>")[1].split("<")[0]
    kept.keep("manual", "<username>robot</username><password>{}</password>".format(sealed))
    kept.update()
    assert seen[0] == seen[-1] and len(seen) == 2
    shown = kept.box.command("shell", "--root", kept.box.root, "-c", "show running-config").stdout
    assert secret not in shown and secret not in kept.session.get().xml
    assert secret not in refusal_of_a_wrong_one(kept, secret)
    for folder, _, files in os.walk(kept.box.root):
        for file in files:
            path = os.path.join(folder, file)
            if os.path.isfile(path):
                with open(path, "rb") as handle:
                    assert secret.encode() not in handle.read(), path
    assert secret not in "\n".join(kept.box.said)


def refusal_of_a_wrong_one(kept, secret):
    """A password with a line break is none; the error does not repeat it."""
    config = kept.config("manual", "<username>robot</username><password>!{}&#10;x</password>".format(secret))
    error = refusal(kept.box.configure, kept.session, config)
    assert "no line breaks" in error.message, error.message
    return error.message + str(error.xml)


@pytest.mark.parametrize(
    "more, url, said",
    [
        ("", "ftp://192.0.2.1/s", "scheme `ftp` is not supported"),
        ("", "http://me:pw@192.0.2.1/s", "must not hold a user or a password"),
        ("", "harddisk:/../..", "lies outside the harddisk"),
        ("<password>secret</password>", None, "a password needs a username beside it"),
        ("<username>me</username><password>sealed:1:AAAA</password>", None, "was sealed by another device"),
    ],
)
def test_what_could_not_be_fetched_is_refused_at_commit(kept, more, url, said):
    error = refusal(kept.keep, "manual", more, url)
    assert said in error.message and "pw@" not in error.message, error.message
    assert error.path and "script-name='{}'".format(kept.name) in error.path


def test_wrong_places_and_scripts_that_are_not_kept_are_refused(kept):
    assert "vrf `blue` does not exist" in refusal(lambda: kept.keep("manual", vrf="blue")).message
    error = refusal(kept.update)
    assert error.tag == "data-missing" and "it is not configured from where" in error.message
    assert "condition-manual url URL" in error.message


def test_the_key_of_passwords_is_for_the_agent_alone(box):
    path = os.path.join(box.root, "keys", "secrets.key")
    found = os.stat(path)
    assert (found.st_mode & 0o777, found.st_size) == (0o600, 65)
