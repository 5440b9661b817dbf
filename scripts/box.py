"""One Procyon on a scratch root, for the demonstration and the tests: starts it, talks NETCONF to it, watches it.

Talks only through the doors that users have: the command line, NETCONF over SSH, files below the root and /proc.
"""

import collections
import hashlib
import http.server
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from ncclient import manager
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
CISCO = "http://cisco.com/ns/yang/Cisco-IOS-XR-"
SCRIPT_CFG = CISCO + "um-script-cfg"
SCRIPT_OPER = CISCO + "infra-script-mgmt-oper"
SCRIPT_ACT = CISCO + "infra-script-mgmt-act"
APP_CFG = CISCO + "um-appmgr-cfg"
APP_OPER = CISCO + "appmgr-oper"
APP_ACT = CISCO + "appmgr-act"

READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
REPLY_SECONDS_MAX = 60
POLL_SECONDS = 0.01

# What an agent says when it serves.
Ready = collections.namedtuple("Ready", "ssh socket pid keeper")


class Trouble(Exception):
    """Something that had to happen did not; says what was seen instead."""


def wait_for(what, condition, seconds=20):
    """The first true value of `condition`, asked again and again; Trouble when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Trouble("no {} within {} s; last seen: {!r}".format(what, seconds, found))
        time.sleep(POLL_SECONDS)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Box:
    def __init__(self, root, binaries, admin="admin"):
        self.root = str(root)
        self.procyon = os.path.join(os.path.abspath(binaries), "procyon")
        self.library = self.root + ".python"
        self.admin = admin
        self.key = self.root + ".key"
        self.settings = self.root + ".toml"
        self.agent = None
        self.readies = []
        self.said = collections.deque(maxlen=200)
        self.news = threading.Condition()
        self.readers = []

    # Its life

    def initialise(self):
        if not os.path.exists(self.key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True, stdin=subprocess.DEVNULL)
        self.install_library()
        with open(self.settings, "w", encoding="utf-8") as handle:
            handle.write('[python]\npackage = "{}"\n'.format(self.library))
        return self.command("init", "--root", self.root, "--admin", self.admin, "--authorized-key", self.key + ".pub")

    def install_library(self):
        """The on-box library, and xmltodict that many scripts import, where the scripts' account can read them: a
        checkout in somebody's home is often closed to it."""
        os.chmod(os.path.dirname(self.root), 0o755)
        shutil.copytree(os.path.join(TOP, "scripts", "python"), self.library, dirs_exist_ok=True)
        shutil.copy(importlib.util.find_spec("xmltodict").origin, self.library)

    def command(self, *arguments, check=True, seconds=STOP_SECONDS_MAX):
        """Runs `procyon` with `arguments` to its end."""
        done = subprocess.run(
            [self.procyon, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
        if check and done.returncode != 0:
            raise Trouble("procyon {} ended with {}: {}{}".format(arguments[0], done.returncode, done.stdout, done.stderr))
        return done

    def agent_command(self):
        return [self.procyon, "agent", "--root", self.root, "--listen-ssh", "127.0.0.1:0", "--settings", self.settings]

    def start(self):
        """Starts the agent and waits until it serves."""
        known = len(self.readies)
        self.agent = subprocess.Popen(
            self.agent_command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for stream, take in ((self.agent.stdout, self.take_output), (self.agent.stderr, self.said.append)):
            reader = threading.Thread(target=self.read, args=(stream, take), daemon=True)
            reader.start()
            self.readers.append(reader)
        return self.wait_ready(known)

    def read(self, stream, take):
        for line in stream:
            take(line.rstrip("\n"))
        with self.news:
            self.news.notify_all()

    def take_output(self, line):
        if not line.startswith("ready "):
            self.said.append(line)
            return
        words = dict(word.split("=", 1) for word in line.split()[1:])
        host, _, port = words["ssh"].rpartition(":")
        ready = Ready((host.strip("[]"), int(port)), words["socket"], int(words["pid"]), pid_or_none(words["keeper"]))
        with self.news:
            self.readies.append(ready)
            self.news.notify_all()

    def wait_ready(self, known, seconds=READY_SECONDS_MAX):
        """The ready line that follows the first `known` ones."""
        with self.news:
            self.news.wait_for(lambda: len(self.readies) > known or self.agent.poll() is not None, seconds)
            if len(self.readies) <= known:
                raise Trouble("the agent does not serve (exit status {}):\n{}".format(self.agent.poll(), "\n".join(self.said)))
            return self.readies[known]

    @property
    def ready(self):
        return self.readies[-1]

    def stop(self):
        """Everything below this root, in order. Never fails: what is left over is killed."""
        if self.agent is None:
            return
        try:
            self.command("agent", "--root", self.root, "--stop", check=False)
        except subprocess.TimeoutExpired:
            self.said.append("--stop did not end")
        try:
            self.agent.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.agent.kill()
            self.agent.wait()
        for pid in self.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for reader in self.readers:
            reader.join(STOP_SECONDS_MAX)
        self.agent.stdout.close()
        self.agent.stderr.close()
        self.agent = None

    def leftovers(self):
        """Processes of this root: our programs by their command line, containers by their environment."""
        needle = self.root.encode()

        def ours(pid):
            words = command_line(pid).split(b"\0")
            if os.path.basename(words[0]).startswith(b"procyon") and any(needle in word for word in words):
                return True
            entries = environment(pid)
            return b"PROCYON_CONTAINER=" in entries and needle in entries

        return [pid for pid in processes() if ours(pid) and alive(pid)]

    def remove(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
        for path in (self.key, self.key + ".pub", self.settings):
            if os.path.exists(path):
                os.unlink(path)

    # NETCONF

    def connect(self, **options):
        host, port = self.ready.ssh
        arguments = dict(
            host=host,
            port=port,
            username=self.admin,
            key_filename=self.key,
            hostkey_verify=False,
            allow_agent=False,
            look_for_keys=False,
            timeout=REPLY_SECONDS_MAX,
        )
        arguments.update(options)
        return manager.connect(**arguments)

    # The repository and the apps, as XML

    def add_request(self, source, *names, sums=None):
        scripts = "".join(
            "<script-name>{}</script-name>".format(name)
            if sums is None
            else "<script-checksums><script-name>{}</script-name><checksum-type>SHA256</checksum-type>"
            "<checksum>{}</checksum></script-checksums>".format(name, sums[name])
            for name in names
        )
        operation = "add" if sums is None else "add-checksum"
        return '<{0} xmlns="{1}"><script-type>process</script-type><source>{2}</source>{3}</{0}>'.format(
            operation, SCRIPT_ACT, source, scripts
        )

    def remove_request(self, *names):
        scripts = "".join("<script-name>{}</script-name>".format(name) for name in names)
        return '<remove xmlns="{}"><script-type>process</script-type>{}</remove>'.format(SCRIPT_ACT, scripts)

    def checksum_config(self, name, checksum):
        return (
            '<config xmlns="{}"><script xmlns="{}"><processes><process><process-name>{}</process-name>'
            "<checksum><sha256>{}</sha256></checksum></process></processes></script></config>"
        ).format(NETCONF, SCRIPT_CFG, name, checksum)

    def app_config(self, app, executable, arguments="", restart="on-failure", retries=None):
        leaves = ["<process-script-name>{}</process-script-name>".format(app), "<executable>{}</executable>".format(executable)]
        if arguments:
            leaves.append("<run-args>{}</run-args>".format(arguments))
        if restart:
            leaves.append("<restart>{}</restart>".format(restart))
        if retries is not None:
            leaves.append("<max-retries>{}</max-retries>".format(retries))
        return (
            '<config xmlns="{}"><appmgr xmlns="{}"><process-scripts><process-script>{}</process-script></process-scripts>'
            "</appmgr></config>"
        ).format(NETCONF, APP_CFG, "".join(leaves))

    def action_request(self, verb, app):
        return '<appmgr-process-script-{0} xmlns="{1}"><name>{2}</name></appmgr-process-script-{0}>'.format(verb, APP_ACT, app)

    def script_filter(self):
        return '<script xmlns="{}"><status><detail/></status></script>'.format(SCRIPT_OPER)

    def app_filter(self, app):
        return (
            '<appmgr xmlns="{}"><process-scripts><process-script><name>{}</name></process-script></process-scripts></appmgr>'
        ).format(APP_OPER, app)

    def edit(self, session, config):
        return session.edit_config(target="candidate", config=config)

    def configure(self, session, *configs):
        """Edits and commits; leaves a clean candidate whatever happens."""
        try:
            for config in configs:
                self.edit(session, config)
            return session.commit()
        except RPCError:
            session.discard_changes()
            raise

    def call(self, session, request):
        return session.dispatch(to_ele(request))

    def act(self, session, verb, app):
        return self.call(session, self.action_request(verb, app))

    def script_state(self, session, name):
        """{leaf: text} of one script's summary in the repository, or None."""
        data = session.get(filter=("subtree", self.script_filter())).data
        for summary in data.iter("{%s}status-summary" % SCRIPT_OPER):
            leaves = {local(leaf): leaf.text for leaf in summary}
            if leaves.get("script-name") == name:
                return leaves
        return None

    def app_state(self, session, app):
        """{leaf: text} of what the app manager tells of an app; those of its execution beside those of itself."""
        data = session.get(filter=("subtree", self.app_filter(app))).data
        leaves = {}
        for info in data.iter("{%s}info" % APP_OPER):
            for node in info:
                if len(node) == 0:
                    leaves[local(node)] = node.text
                elif local(node) == "execution-info":
                    leaves.update({local(leaf): leaf.text for leaf in node})
        return leaves

    def wait_app(self, session, app, **wanted):
        """Waits until the leaves of the app are as wanted; underscores stand for dashes."""
        wanted = {name.replace("_", "-"): str(value) for name, value in wanted.items()}

        def reached():
            state = self.app_state(session, app)
            return state if all(state.get(name) == value for name, value in wanted.items()) else None

        try:
            return wait_for("{} of {}".format(wanted, app), reached)
        except Trouble as trouble:
            raise Trouble("{}; now {}".format(trouble, self.app_state(session, app)))

    # The world

    @property
    def repository(self):
        return os.path.join(self.root, "harddisk", "mirror", "script-mgmt", "process")

    def log_path(self, script, app, stream="stdout"):
        folder = "{}_process_{}".format(script, app)
        return os.path.join(self.root, "harddisk", "mirror", "script-mgmt", "logs", folder, stream + ".log")

    def log(self, script, app, stream="stdout"):
        try:
            with open(self.log_path(script, app, stream), encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except FileNotFoundError:
            return ""

    def pids_of(self, script):
        """The processes of this root that run `script`, those that it started left out."""
        device = ("/script-mgmt/process/" + script).encode()
        root = self.root.encode()
        found = [
            pid
            for pid in processes()
            if any(word.endswith(device) for word in command_line(pid).split(b"\0")) and root in environment(pid)
        ]
        return [pid for pid in found if parent(pid) not in found]

    def wait_pid(self, script, other_than=None, seconds=20):
        def running():
            pids = [pid for pid in self.pids_of(script) if pid != other_than]
            return pids[0] if len(pids) == 1 else None

        return wait_for("process of {}".format(script), running, seconds)

    def wait_log(self, script, app, text, stream="stdout", count=1):
        try:
            wait_for("{!r} in {}".format(text, stream), lambda: self.log(script, app, stream).count(text) >= count)
        except Trouble as trouble:
            raise Trouble("{}; the log is:\n{}".format(trouble, self.log(script, app, stream)))
        return self.log(script, app, stream)


def pid_or_none(word):
    """An agent that serves before its keeper is back says `-`."""
    return None if word == "-" else int(word)


def local(element):
    return element.tag.rpartition("}")[2]


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_proc(pid, name):
    try:
        with open("/proc/{}/{}".format(pid, name), "rb") as handle:
            return handle.read()
    except OSError:
        return b""


def command_line(pid):
    return read_proc(pid, "cmdline")


def environment(pid):
    return read_proc(pid, "environ")


def parent(pid):
    """The parent's pid, or 0 for a process that is gone."""
    words = read_proc(pid, "stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def alive(pid):
    words = read_proc(pid, "stat").rpartition(b")")[2].split()
    return bool(words) and words[0] not in (b"Z", b"X")


class Files(http.server.ThreadingHTTPServer):
    """An HTTP server on the loopback that serves what it is told: bytes, or a function of the request handler."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = {}
        self.asked = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return "http://127.0.0.1:{}".format(self.server_address[1])

    def __exit__(self, *reason):
        self.shutdown()
        self.thread.join()
        super().__exit__(*reason)

    def handle_error(self, request, client_address):
        # A client that goes away in the middle is what some tests are about.
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.content.get(self.path)
        if content is None:
            self.send_error(404)
        elif callable(content):
            content(self)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass
