"""A scratch device: the real agent on a root of its own, with figures of the host that a test sets.

Environment:
    PROCYON_BIN   the folder of `procyon` and `procyon-keeper`; otherwise they are found on the PATH
"""

import collections
import hashlib
import importlib.util
import json
import os
import pwd
import re
import select
import shutil
import socket
import subprocess
import time
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from iosxr.netconf.netconf_lib import NetconfClient

__all__ = ["App", "Device", "DeviceError", "Run"]

LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = ("cisco", "iosxr")
MODULES = ("procyon_door.py", "procyon_judge.py", "procyon_launcher.py")

CISCO = "http://cisco.com/ns/yang/Cisco-IOS-XR-"
ACT = CISCO + "infra-script-mgmt-act"
OPER = CISCO + "infra-script-mgmt-oper"
SCRIPT = CISCO + "um-script-cfg"
VALIDATION = CISCO + "um-config-validation-cfg"
SYSLOG = CISCO + "infra-syslog-oper"
HISTORY = "urn:procyon:history"
EVENTS = CISCO + "um-event-manager-cfg"
APPS = CISCO + "um-appmgr-cfg"
APPS_ACT = CISCO + "appmgr-act"
APPS_STATE = CISCO + "appmgr-oper"
EVENT_STATE = CISCO + "ha-eem-policy-oper"
POLICIES = CISCO + "um-event-manager-policy-map-cfg"

ADMIN = (
    '<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>admin</name>'
    "<user-name>{}</user-name></group></groups></nacm>"
)

# A trigger, an action that runs a script, and the policy map that joins them, all of one name.
EVENT = (
    '<event xmlns="{events}"><manager><event-trigger xmlns="{policies}"><event><event-name>{name}</event-name>'
    '<type>{trigger}</type></event></event-trigger><actions xmlns="{policies}"><action><action-name>{name}</action-name>'
    "<type><script><script-name>{script}</script-name><maxrun><seconds>{maxrun}</seconds></maxrun>"
    "<checksum><sha256>{checksum}</sha256></checksum></script></type><username>{user}</username></action></actions>"
    '<policy-maps xmlns="{policies}"><policy-map><policy-map-name>{name}</policy-map-name><trigger><event>{name}</event>'
    "</trigger><actions><action><action-name>{name}</action-name></action></actions></policy-map></policy-maps>"
    "</manager></event>"
)

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
POLL_SECONDS = 0.02

# How a run may stand when it is over.
OVER = ("Executed", "Exception", "Stopped", "Timed-out", "Killed")

# Where a script of the scratch device notes the requests that it sends; see `TRACING`.
TRACE = "procyon-trace.jsonl"

# Put behind the NETCONF client of a scratch device.
TRACING = '''

def _traced(exchange):
    import json

    def traced(client, operation, timeout=None):
        reply = exchange(client, operation, timeout)
        with open("{}", "a") as handle:
            handle.write(json.dumps([operation, reply]) + "\\n")
        return reply

    return traced


NetconfClient.exchange = _traced(NetconfClient.exchange)
'''

# The busy share of a processor is told from the growth of these; each setting must drown those before it.
TICKS = 1000
TICKS_GROW = 1000


class DeviceError(Exception):
    """The scratch device could not be made, or does not do what it was asked. Says why."""


Run = collections.namedtuple("Run", "request_id status return_value output errors events rpcs changes syslog")
Run.__doc__ = """One run of a script.

request_id    the number of the run
status        Executed, Exception, Timed-out, Stopped or Killed
return_value  what the script returned
output        what it printed
errors        what it printed on its error stream
events        what happened to the run, in words
rpcs          pairs of the NETCONF operations that it sent and the replies
changes       what it committed, as XML, one text a commit; only of runs that the test itself began
syslog        lines of the system log since it began; all of them, where an event began it
"""


class Device(object):
    """A scratch device below `folder`. Use it with `with`, or start() and stop() it."""

    def __init__(self, folder, yang_dirs=(), modules=(), settings=""):
        self.folder = os.path.abspath(str(folder))
        self.root = os.path.join(self.folder, "root")
        self.yang_dirs = list(yang_dirs)
        self.modules = list(modules)
        self.settings = settings
        self.client = None
        self._agent = None
        self._program = _program()
        self._figures = os.path.join(self.folder, "figures")
        self._busy = self._all = 0
        self._scale = TICKS
        self._ahead = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()

    # Its life

    def start(self):
        os.makedirs(self._figures)
        self.cpu = 0
        self._write("meminfo", "MemTotal: 4194304 kB\nMemFree: 2097152 kB\nMemAvailable: 2097152 kB\n")
        self._write("uptime", "3600.00 3600.00\n")
        library = os.path.join(self.folder, "python")
        os.mkdir(library)
        for each in PACKAGES:
            shutil.copytree(
                os.path.join(LIBRARY, each), os.path.join(library, each), ignore=shutil.ignore_patterns("__pycache__")
            )
        for each in MODULES:
            shutil.copy(os.path.join(LIBRARY, each), library)
        # Many scripts import it; a device that runs them has it installed.
        if importlib.util.find_spec("xmltodict") is not None:
            shutil.copy(importlib.util.find_spec("xmltodict").origin, library)
        with open(os.path.join(library, "iosxr", "netconf", "netconf_lib.py"), "a") as handle:
            handle.write(TRACING.replace("{}", TRACE))
        file = os.path.join(self.folder, "procyon.toml")
        with open(file, "w") as handle:
            handle.write('host_figures = "{}"\n'.format(self._figures))
            handle.write('{}\n[python]\npackage = "{}"\nuser = ""\n'.format(self.settings, library))
        self._procyon("init", "--root", self.root, "--admin", "tester", "--password-stdin", typed="scratch-device\n")
        command = [self._program, "agent", "--root", self.root, "--listen-ssh", "127.0.0.1:0", "--settings", file]
        for each in self.yang_dirs:
            command += ["--yang-dir", str(each)]
        for each in self.modules:
            command += ["--module", each]
        self._agent = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log("agent.log"), close_fds=True
        )
        ready, _, _ = select.select([self._agent.stdout], [], [], START_SECONDS_MAX)
        line = self._agent.stdout.readline().decode("utf-8") if ready else ""
        if not line.startswith("ready "):
            self.stop()
            raise DeviceError("the device does not serve:\n{}".format(self._read("agent.log")))
        self.client = _Client(os.path.join(self.root, "run", "agent.sock"))
        self.client.connect()
        # Scripts run on behalf of whoever runs them, here the account of the tests: it may do everything.
        self.configure(ADMIN.format(_own_account()))

    def stop(self):
        if self.client is not None:
            self.client.close()
            self.client = None
        if self._agent is not None:
            self._procyon("agent", "--root", self.root, "--stop")
            self._agent.wait(STOP_SECONDS_MAX)
            self._agent.stdout.close()
            self._agent = None

    # What the host looks like

    @property
    def cpu(self):
        """How busy the processor is, in percent; set it, and the device sees it at once."""
        return self._cpu

    @cpu.setter
    def cpu(self, percent):
        if not 0 <= percent <= 100:
            raise ValueError("a processor is busy for 0 to 100 percent")
        self._cpu = percent
        self._scale *= TICKS_GROW
        if self._scale > TICKS * TICKS_GROW ** 4:
            raise DeviceError("the figures of one device can be set a few times only: use a new device")
        self._all += self._scale
        self._busy += self._scale * percent // 100
        self._write("stat", "cpu {} 0 0 {} 0 0 0 0\ncpu0 0 0 0 0\n".format(self._busy, self._all - self._busy))

    def set_memory(self, total, free):
        """Memory of the host, in bytes."""
        text = "MemTotal: {} kB\nMemFree: {free} kB\nMemAvailable: {free} kB\n"
        self._write("meminfo", text.format(total // 1024, free=free // 1024))

    def advance(self, seconds=0, minutes=0, hours=0, days=0):
        """Moves the device's clock ahead. What waits for a time in between is due at once, and once: watchdogs, calendar
        entries, updates of scripts. It goes on from there, and never back."""
        by = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if by < 0 or by != int(by):
            raise ValueError("a clock is moved ahead by whole seconds")
        self._ahead += int(by)
        self._write("clock", "{}\n".format(self._ahead))

    # What is asked of it

    def rpc(self, operation):
        """The reply to any NETCONF operation, as text; DeviceError where it is refused."""
        reply = self.client.exchange(operation)
        if "<rpc-error>" in reply:
            said = re.findall(r"<error-message[^>]*>([^<]*)<", reply)
            raise DeviceError("; ".join(said) or reply)
        return reply

    def get(self, subtree=""):
        """State and configuration below a subtree filter."""
        return self.rpc('<get><filter type="subtree">{}</filter></get>'.format(subtree))

    def get_config(self, subtree=""):
        return self.rpc(
            '<get-config><source><running/></source><filter type="subtree">{}</filter></get-config>'.format(subtree)
        )

    def configure(self, config):
        """Edits and commits; what is refused leaves nothing behind."""
        try:
            self.rpc("<edit-config><target><candidate/></target><config>{}</config></edit-config>".format(config))
            self.rpc("<commit/>")
        except DeviceError:
            self.client.exchange("<discard-changes/>")
            raise

    def shell(self, *lines):
        """What the device's command line shows for these lines."""
        words = [word for line in lines for word in ("-c", line)]
        return self._procyon("shell", "--root", self.root, *words)

    @property
    def syslog(self):
        """The texts of the system log, oldest first."""
        reply = self.get('<syslog xmlns="{}"><messages/></syslog>'.format(SYSLOG))
        return [leaf.text or "" for leaf in ElementTree.fromstring(reply).iter("{%s}text" % SYSLOG)]

    # Scripts

    def add(self, path, kind="exec"):
        """Puts a script into the repository, with its checksum in the configuration; its name there."""
        name = os.path.basename(str(path))
        with open(str(path), "rb") as handle:
            source = handle.read()
        incoming = os.path.join(self.root, "harddisk", "incoming")
        os.makedirs(incoming, exist_ok=True)
        with open(os.path.join(incoming, name), "wb") as handle:
            handle.write(source)
        self.rpc(
            '<add xmlns="{}"><script-type>{}</script-type><source>harddisk:/incoming</source><script-name>{}</script-name></add>'.format(
                ACT, kind, name
            )
        )
        os.unlink(os.path.join(incoming, name))
        checksum = hashlib.sha256(source).hexdigest()
        shapes = {
            "exec": "<execs><exec><exec-name>{}</exec-name>{}</exec></execs>",
            "process": "<processes><process><process-name>{}</process-name>{}</process></processes>",
            "config": '<configs xmlns="%s"><config><config-name>{}</config-name>{}</config></configs>' % VALIDATION,
            "precommit": "<precommit><script-names><script-name><script-name>{}</script-name>{}<activate/></script-name></script-names></precommit>",
        }
        if kind in shapes:
            entry = shapes[kind].format(escape(name), "<checksum><sha256>{}</sha256></checksum>".format(checksum))
            config = '<script xmlns="{}">{}</script>'.format(SCRIPT, entry)
            if kind == "config":
                switch = '<configuration xmlns="{}"><validation><scripts/></validation></configuration>'
                config += switch.format(VALIDATION)
            self.configure(config)
        return name

    def on_event(self, path, trigger, maxrun=60):
        """Adds a script that runs when something happens; `trigger` is what stands in the type of an event trigger, such as
        `<timer><watchdog><value>60</value></watchdog></timer>`. Its name; `next_run` waits for it."""
        name = self.add(path, "eem")
        with open(str(path), "rb") as handle:
            checksum = hashlib.sha256(handle.read()).hexdigest()
        self.configure(
            EVENT.format(
                events=EVENTS,
                policies=POLICIES,
                name=name[:-len(".py")][:31],
                script=name,
                trigger=trigger,
                maxrun=maxrun,
                checksum=checksum,
                user=_own_account(),
            )
        )
        # A clock that is moved before the event manager has begun to wait would move its beginning too.
        watched = "<event-name>{}</event-name>".format(name[:-len(".py")][:31])
        deadline = time.monotonic() + START_SECONDS_MAX
        while watched not in self.get('<eem xmlns="{}"/>'.format(EVENT_STATE)):
            if time.monotonic() > deadline:
                raise DeviceError("the event manager does not take over the trigger of {}".format(name))
            time.sleep(POLL_SECONDS)
        return name

    def next_run(self, name, after=None, seconds=30):
        """The end of the first run of a script since `after`, a run of it; of the first one at all without that."""
        last = 0 if after is None else after.request_id
        deadline = time.monotonic() + seconds
        while True:
            asked = "<names><name><name-str>{}</name-str><summary/></name></names>".format(escape(name))
            rows = ElementTree.fromstring(self._executions(asked)).iter("{%s}request-id" % OPER)
            later = sorted(int(row.text) for row in rows if int(row.text) > last)
            if later:
                return self._end(str(later[0]), name, deadline)
            if time.monotonic() > deadline:
                raise DeviceError("{} has not run within {} s".format(name, seconds))
            time.sleep(POLL_SECONDS)

    def run(self, path, *arguments, max_runtime=60):
        """Adds an exec script and runs it to its end."""
        name = self.add(path, "exec")
        words = " ".join("'{}'".format(str(each).replace("'", '"')) for each in arguments)
        options = "<argument-list>{}</argument-list>".format(escape(words)) if words else ""
        before = len(self.syslog)
        known = self._commits()
        reply = self.rpc(
            '<run xmlns="{}"><script-name>{}</script-name>{}<max-runtime>{}</max-runtime></run>'.format(
                ACT, name, options, max_runtime
            )
        )
        request_id = re.search(r"<request-id[^>]*>(\d+)<", reply).group(1)
        deadline = time.monotonic() + max_runtime + 30
        return self._end(request_id, name, deadline, before, known)

    def app(self, path, *arguments, restart="never", user=None):
        """Adds a process script, registers an app for it and activates it; an `App`. The first restarts come at once."""
        script = self.add(path, "process")
        name = script[: -len(".py")]
        leaves = [
            "<executable>{}</executable>".format(escape(script)),
            "<run-args>{}</run-args>".format(escape(" ".join(map(str, arguments)))) if arguments else "",
            "<restart>{}</restart>".format(restart),
            "<username>{}</username>".format(escape(_own_account() if user is None else user)),
        ]
        entry = "<process-script><process-script-name>{}</process-script-name>{}</process-script>".format(name, "".join(leaves))
        self.configure('<appmgr xmlns="{}"><process-scripts>{}</process-scripts></appmgr>'.format(APPS, entry))
        app = App(self, name, script)
        app.order("activate")
        return app

    def _end(self, request_id, name, deadline, before=0, known=None):
        """Waits for the end of a run; `before` lines of the log and the commits in `known` are older than it."""
        while True:
            leaves = self._leaves(request_id, "detail")
            status = (leaves.get("status") or [""])[0]
            if status in OVER:
                break
            if time.monotonic() > deadline:
                raise DeviceError("run {} of {} does not come to an end: {}".format(request_id, name, status))
            time.sleep(POLL_SECONDS)
        kind = (leaves.get("script-type") or ["exec"])[0]
        logs = os.path.join(self.root, "harddisk", leaves["log-path"][0].partition(":/")[2])
        value = (leaves.get("return-val") or [None])[0]
        return Run(
            int(request_id),
            status,
            int(value) if value and value.lstrip("-").isdigit() else None,
            _content(os.path.join(logs, "stdout.log")),
            _content(os.path.join(logs, "stderr.log")),
            leaves.get("description", []),
            self._rpcs(name, kind),
            [] if known is None else [self._changes(each) for each in self._commits()[len(known):]],
            self.syslog[before:],
        )

    def _leaves(self, request_id, view):
        asked = "<requests><request><request-id>{}</request-id><{}/></request></requests>".format(request_id, view)
        leaves = {}
        for node in ElementTree.fromstring(self._executions(asked)).iter():
            if len(node) == 0:
                leaves.setdefault(node.tag.rpartition("}")[2], []).append(node.text or "")
        return leaves

    def _executions(self, asked):
        return self.get('<script xmlns="{}"><execution>{}</execution></script>'.format(OPER, asked))

    def _rpcs(self, name, kind):
        file = os.path.join(self.root, "state", "work", "{}_{}".format(name, kind), TRACE)
        try:
            with open(file, "rb") as handle:
                lines = handle.read().decode("utf-8").splitlines()
            os.unlink(file)
        except OSError:
            return []
        return [tuple(json.loads(line)) for line in lines]

    def _commits(self):
        """The ids of all commits, oldest first."""
        return sorted(int(each) for each in re.findall(r"\d+", " ".join(os.listdir(os.path.join(self.root, "config", "commits")))))

    def _changes(self, commit):
        return self.rpc(
            '<get-commit-changes xmlns="{}"><commit-id>{}</commit-id></get-commit-changes>'.format(HISTORY, commit)
        )

    # Small things

    def _procyon(self, *arguments, typed=""):
        done = subprocess.Popen(
            [self._program] + list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        output, errors = done.communicate(typed.encode("utf-8"), START_SECONDS_MAX)
        if done.returncode != 0:
            said = (output + errors).decode("utf-8", "replace")
            raise DeviceError("procyon {} ended with {}: {}".format(arguments[0], done.returncode, said))
        return output.decode("utf-8")

    def _log(self, name):
        return open(os.path.join(self.folder, name), "wb")

    def _read(self, name):
        return _content(os.path.join(self.folder, name))

    def _write(self, name, text):
        # Whole, or not yet: the device may read at any time.
        path = os.path.join(self._figures, name)
        with open(path + ".new", "w") as handle:
            handle.write(text)
        os.rename(path + ".new", path)


class App(object):
    """A process script that is activated on a scratch device, under the rights of the account of the tests."""

    def __init__(self, device, name, script):
        self.name = name
        self._device = device
        self._logs = os.path.join(device.root, "harddisk", "mirror", "script-mgmt", "logs", "{}_process_{}".format(script, name))

    @property
    def status(self):
        """started, exit-success, exit-failure, ... as the device tells it."""
        asked = "<process-scripts><process-script><name>{}</name><info/></process-script></process-scripts>".format(self.name)
        reply = self._device.get('<appmgr xmlns="{}">{}</appmgr>'.format(APPS_STATE, asked))
        return "".join(re.findall(r"<status>([^<]*)</status>", reply)[:1])

    @property
    def output(self):
        """What it has printed so far, over all its restarts."""
        return _content(os.path.join(self._logs, "stdout.log"))

    @property
    def errors(self):
        return _content(os.path.join(self._logs, "stderr.log"))

    def order(self, verb):
        """activate, deactivate, start, stop, restart or kill."""
        self._device.rpc('<appmgr-process-script-{0} xmlns="{1}"><name>{2}</name></appmgr-process-script-{0}>'.format(verb, APPS_ACT, self.name))

    def wait_for(self, text, seconds=30):
        """Returns when it has printed `text`, to either log."""
        self._wait(lambda: text in self.output + self.errors, "has not printed {!r}".format(text), seconds)

    def wait_until(self, status, seconds=30):
        """Returns when it stands so."""
        self._wait(lambda: self.status == status, "is not {}".format(status), seconds)

    def _wait(self, condition, trouble, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise DeviceError(
                    "{} {} after {} s; it is {}\n{}{}".format(self.name, trouble, seconds, self.status, self.output, self.errors)
                )
            time.sleep(POLL_SECONDS)


class _Client(NetconfClient):
    """A client through the device's local socket: with all rights."""

    def __init__(self, path):
        NetconfClient.__init__(self)
        self._path = path

    def _stream(self):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(self._path)
        return stream


def _program():
    folder = os.environ.get("PROCYON_BIN", "")
    found = os.path.join(folder, "procyon") if folder else shutil.which("procyon")
    if not found or not os.access(found, os.X_OK):
        raise DeviceError("`procyon` is not to be found: put it on the PATH, or its folder into PROCYON_BIN")
    return os.path.abspath(found)


def _own_account():
    return pwd.getpwuid(os.geteuid()).pw_name


def _content(path):
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", "replace")
    except OSError:
        return ""
