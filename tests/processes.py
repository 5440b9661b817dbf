"""Process definitions as an installer puts them, and what becomes of them, seen by NETCONF."""

import os
import signal
from xml.sax.saxutils import escape

from lxml import etree

from device import boxes

PROCESS = "urn:procyon:process"
DEFINITION = "http://www.sipfoundry.org/sipX/schema/xml/sipXecs-process-01-00"
# What a program of the host may take to start or to end.
PROGRAM_SECONDS_MAX = 20
# From the event that was waited for to the next state, on a machine that does other things as well.
WAKE_SECONDS_MAX = 2


def command(*argv, user=None):
    program, *parameters = argv
    inside = "".join("<parameter>{}</parameter>".format(escape(parameter)) for parameter in parameters)
    account = "<user>{}</user>".format(user) if user else ""
    return "{}<execute>{}</execute>{}".format(account, program, inside)


def definition(name, start, stop=("/bin/kill", "0"), configtest=("/bin/true",), version="1", pid=None, resources="", user=None):
    return (
        '<sipXecs-process xmlns="{}"><name>{}</name><version>{}</version><commands>'
        "<configtest>{}</configtest><start>{}</start><stop>{}</stop></commands><status>{}</status>{}</sipXecs-process>"
    ).format(
        DEFINITION,
        name,
        version,
        command(*configtest),
        command(*start, user=user),
        command(*stop, user=user),
        "<pid>{}</pid>".format(pid) if pid else "",
        "<resources>{}</resources>".format(resources) if resources else "",
    )


def define(box, name, *arguments, **options):
    """As an installer does it: at once and as a whole."""
    folder = os.path.join(box.root, "process.d")
    with open(os.path.join(folder, ".new"), "w", encoding="utf-8") as handle:
        handle.write(definition(name, *arguments, **options))
    os.rename(os.path.join(folder, ".new"), os.path.join(folder, name + "-process.xml"))


def sleeper(tmp_path, name):
    """A program in the foreground that ends when it is told to by a file."""
    path = tmp_path / (name + ".sh")
    path.write_text("#!/bin/sh\necho $$ > {0}/{1}.own\nexec sleep 1000\n".format(tmp_path, name))
    path.chmod(0o755)
    stop = ("/bin/sh", "-c", "kill $(cat {}/{}.own)".format(tmp_path, name))
    return {"start": (str(path),), "stop": stop}


def configured(name, start, stop, configtest=("/bin/true",), inside=""):
    """The same as an entry of the configuration."""

    def words(argv):
        program, *parameters = argv
        return "<execute>{}</execute>{}".format(
            program,
            "".join(
                "<parameter><index>{}</index><value>{}</value></parameter>".format(at, escape(text))
                for at, text in enumerate(parameters)
            ),
        )

    return (
        "<process><name>{}</name><version>1</version><commands><configtest>{}</configtest><start>{}</start>"
        "<stop>{}</stop></commands>{}</process>"
    ).format(name, words(configtest), words(start), words(stop), inside)


def config(inside):
    return '<config xmlns="{0}" xmlns:nc="{0}"><processes xmlns="{1}">{2}</processes></config>'.format(
        boxes.NETCONF, PROCESS, inside
    )


def rpc(box, session, name, content=""):
    return box.call(session, '<{0} xmlns="{1}">{2}</{0}>'.format(name, PROCESS, content))


def names(*processes):
    return "".join("<name>{}</name>".format(name) for name in processes)


def set_version(box, session, name, version="1"):
    rpc(box, session, "process-set-version", "<name>{}</name><version>{}</version>".format(name, version))


def states(session, name=None):
    """{name: {leaf: text}}"""
    which = "<process><name>{}</name></process>".format(name) if name else ""
    wanted = '<processes-state xmlns="{}">{}</processes-state>'.format(PROCESS, which)
    data = session.get(filter=("subtree", wanted)).data
    return {
        process.findtext("{*}name"): {boxes.local(leaf): leaf.text for leaf in process if len(leaf) == 0}
        for process in data.iterfind(".//{*}processes-state/{*}process")
    }


def state(session, name):
    return states(session, name).get(name, {}).get("state")


def wait_state(session, name, wanted, seconds=PROGRAM_SECONDS_MAX):
    seen = []

    def reached():
        now = states(session, name).get(name, {})
        if not seen or seen[-1].get("state") != now.get("state"):
            seen.append(now)
        return now if now.get("state") == wanted else None

    try:
        return boxes.wait_for("{} to be {}".format(name, wanted), reached, seconds)
    except boxes.Trouble as trouble:
        raise AssertionError("{}; it was {}".format(trouble, seen)) from None


def path_of(session, name):
    """The states that it went through."""
    wanted = '<processes-state xmlns="{}"><process><name>{}</name></process></processes-state>'.format(PROCESS, name)
    data = session.get(filter=("subtree", wanted)).data
    return [step.findtext("{*}to") for step in data.iterfind(".//{*}transition")]


def why(box, session, name):
    reply = etree.fromstring(rpc(box, session, "process-why", names(name)).xml.encode())
    return reply.findtext("{*}why"), reply.findtext("{*}remedy")


def start(box, session, *processes):
    for name in processes:
        boxes.wait_for("definition of " + name, lambda name=name: name in states(session))
        set_version(box, session, name)
    rpc(box, session, "process-start", names(*processes))


def kill_agent(box, meanwhile=lambda: None):
    """The agent dies, and `meanwhile` happens before another one serves."""
    custodian, known = boxes.parent(box.ready.pid), len(box.readies)
    os.kill(custodian, signal.SIGSTOP)
    os.kill(box.ready.pid, signal.SIGKILL)
    meanwhile()
    os.kill(custodian, signal.SIGCONT)
    box.wait_ready(known)
