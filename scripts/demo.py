"""The main job, end to end, on a scratch root: each step with what is sent and what came back.

Adds scripts/examples/cpu-watch.py from an HTTP server, configures its checksum, registers it as an app, activates it,
watches it work, kills it, kills the agent, and stops everything. Ends with status 1 when a step does not come out as it should.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import box
from ncclient.operations import RPCError

SCRIPT = "cpu-watch.py"
APP = "my-process-app"

# The threshold is one that every machine reaches, so that the line in the system log is seen at once.
ARGUMENTS = "0 --every 1"

# What the project promises, with room for a busy machine: the promise itself is measured by the benchmarks.
RESTART_SECONDS_MAX = 5
AGENT_BACK_SECONDS_MAX = 10


class Stage:
    """Numbers the steps and shows them."""

    def __init__(self):
        self.number = 0
        self.bold, self.dim, self.plain = ("\033[1m", "\033[2m", "\033[0m") if coloured() else ("", "", "")

    def step(self, text):
        self.number += 1
        print("\n{}{}. {}{}".format(self.bold, self.number, text, self.plain), flush=True)

    def sent(self, text):
        self.show("> ", text)

    def came(self, text):
        self.show("  ", text)

    def show(self, mark, text):
        dim, plain = (self.dim, self.plain) if mark == "> " else ("", "")
        for line in text.rstrip("\n").splitlines() or [""]:
            print("{}{}{}{}".format(dim, mark, line, plain), flush=True)


def coloured():
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def indented(xml):
    """XML for people: one element a line."""
    from lxml import etree

    text = xml.encode("utf-8") if isinstance(xml, str) else xml
    root = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def main():
    arguments = parse()
    scratch = arguments.root or tempfile.mkdtemp(prefix="procyon-demo-")
    os.makedirs(scratch, exist_ok=True)
    # Scripts may run as another user, who has to reach the root; what is secret in it guards itself.
    os.chmod(scratch, 0o755)
    device = box.Box(os.path.join(os.path.abspath(scratch), "root"), arguments.bin)
    stage = Stage()
    status = 1
    try:
        play(device, stage)
        print("\nevery step came out as it should", flush=True)
        status = 0
        if sys.stdin.isatty() and sys.stdout.isatty() and not arguments.no_shell:
            shell(device, stage)
    except (box.Trouble, RPCError, subprocess.CalledProcessError, OSError) as error:
        print("\nfailed: {}".format(error), file=sys.stderr)
        for line in device.said:
            print("agent: {}".format(line), file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
    finally:
        device.stop()
        if arguments.root is None:
            shutil.rmtree(scratch, ignore_errors=True)
    return status


def parse():
    parser = argparse.ArgumentParser(description="Shows the main job of Procyon end to end")
    parser.add_argument("--bin", default=os.path.join(box.TOP, "target", "debug"), help="the folder of the binaries")
    parser.add_argument("--root", help="keep everything in this folder instead of a temporary one")
    parser.add_argument("--no-shell", action="store_true", help="end after the last step")
    return parser.parse_args()


def play(device, stage):
    with open(os.path.join(box.TOP, "scripts", "examples", SCRIPT), "rb") as handle:
        source = handle.read()
    checksum = box.sha256(source)

    stage.step("A device is made and its agent started")
    stage.sent("procyon init --root {} --admin {} --authorized-key {}.pub".format(device.root, device.admin, device.key))
    done = device.initialise()
    stage.came(done.stdout + done.stderr)
    stage.sent(" ".join(["procyon"] + device.agent_command()[1:]))
    ready = device.start()
    stage.came("ready ssh={}:{} socket={} pid={} keeper={}".format(*ready.ssh, *ready[1:]))

    session = device.connect()
    stage.step("A NETCONF session over SSH, as {}".format(device.admin))
    stage.came("session {} with {} capabilities".format(session.session_id, len(list(session.server_capabilities))))

    with box.Files() as server:
        server.content["/scripts/" + SCRIPT] = source
        stage.step("The script is added to the repository from {}/scripts".format(server.url))
        call(device, stage, session, device.add_request(server.url + "/scripts", SCRIPT))
    expect_script(device, stage, session, "Config Checksum")

    stage.step("Its checksum is configured and committed")
    configure(device, stage, session, device.checksum_config(SCRIPT, checksum))
    expect_script(device, stage, session, "Ready")

    stage.step("It is registered as the app {}".format(APP))
    configure(device, stage, session, device.app_config(APP, SCRIPT, ARGUMENTS, "on-failure", 3))
    show_app(stage, device.wait_app(session, APP, status="not-started"))

    stage.step("The app is activated")
    call(device, stage, session, device.action_request("activate", APP))
    state = device.wait_app(session, APP, status="started")
    pid = device.wait_pid(SCRIPT)
    show_app(stage, state)
    stage.came("process {}: {}".format(pid, " ".join(os.fsdecode(word) for word in box.command_line(pid).split(b"\0"))))
    if state.get("checksum", "").lower() != checksum:
        raise box.Trouble("the app runs with the checksum {}, not {}".format(state.get("checksum"), checksum))

    stage.step("The script asks the device for its CPU utilization and reports it")
    text = device.wait_log(SCRIPT, APP, "%OS-SCRIPT_MGMT-3-ERROR", "stderr")
    stage.came("{}:".format(device.log_path(SCRIPT, APP, "stderr")))
    stage.came("\n".join(text.splitlines()[:3]))
    stage.came("{}:".format(device.log_path(SCRIPT, APP)))
    stage.came("\n".join(device.log(SCRIPT, APP).splitlines()[:3]))

    stage.step("The script is killed with signal 9 and restarted by its policy")
    stage.sent("kill -9 {}".format(pid))
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    again = device.wait_pid(SCRIPT, other_than=pid, seconds=RESTART_SECONDS_MAX)
    stage.came("process {} after {:.0f} ms".format(again, 1000 * (time.monotonic() - begin)))
    show_app(stage, device.wait_app(session, APP, status="started", restarts=1))

    stage.step("The agent is killed with signal 9; the script does not notice")
    known = len(device.readies)
    size = len(device.log(SCRIPT, APP, "stderr"))
    stage.sent("kill -9 {}".format(device.ready.pid))
    begin = time.monotonic()
    os.kill(device.ready.pid, signal.SIGKILL)
    ready = device.wait_ready(known, AGENT_BACK_SECONDS_MAX)
    stage.came("agent {} serves after {:.0f} ms at {}:{}".format(ready.pid, 1000 * (time.monotonic() - begin), *ready.ssh))
    if device.pids_of(SCRIPT) != [again]:
        raise box.Trouble("the script was process {}, now {}".format(again, device.pids_of(SCRIPT)))
    session = device.connect()
    show_app(stage, device.wait_app(session, APP, status="started", restarts=1))
    stage.came("still process {}".format(again))
    box.wait_for("another line in the log", lambda: len(device.log(SCRIPT, APP, "stderr")) > size)

    stage.step("A changed script does not run")
    with open(os.path.join(device.repository, SCRIPT), "ab") as handle:
        handle.write(b"# one line more\n")
    expect_script(device, stage, session, "Checksum Mismatch")
    call(device, stage, session, device.action_request("stop", APP))
    device.wait_app(session, APP, status="stopped")
    try:
        call(device, stage, session, device.action_request("start", APP))
        raise box.Trouble("a script with a wrong checksum was started")
    except RPCError as error:
        stage.came("refused: {}: {}".format(error.tag, error.message))

    stage.step("The app is deactivated")
    call(device, stage, session, device.action_request("deactivate", APP))
    show_app(stage, device.wait_app(session, APP, is_activated="false"))
    if device.pids_of(SCRIPT):
        raise box.Trouble("the script still runs: {}".format(device.pids_of(SCRIPT)))
    session.close_session()


def call(device, stage, session, request):
    stage.sent(indented(request))
    reply = device.call(session, request)
    stage.came(indented(reply.xml))


def configure(device, stage, session, config):
    stage.sent("edit-config candidate\n" + indented(config))
    device.configure(session, config)
    stage.sent("commit")
    stage.came("<ok/>")


def expect_script(device, stage, session, status):
    def reached():
        state = device.script_state(session, SCRIPT)
        return state if state and state.get("status") == status else None

    state = box.wait_for("status {} of {}".format(status, SCRIPT), reached)
    stage.came(table([["Name", "Type", "Status", "Last Action", "Action Time"],
                      [state.get(leaf, "") for leaf in ("script-name", "script-type", "status", "last-action", "last-action-time")]]))


def show_app(stage, state):
    rows = [[name, state[name] or ""] for name in sorted(state) if name != "name"]
    stage.came(table(rows))


def table(rows):
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def shell(device, stage):
    host, port = device.ready.ssh
    print(
        "\nThe device goes on serving until you leave this shell (exit):\n"
        "  ssh -p {port} -i {key} {admin}@{host} -s netconf     a NETCONF session, typed by hand\n"
        "  ls {root}/harddisk/mirror/script-mgmt/logs     the logs\n".format(
            port=port, key=device.key, admin=device.admin, host=host, root=device.root
        )
    )
    environment = dict(os.environ, PROCYON_ROOT=device.root, PATH=os.path.dirname(device.procyon) + ":" + os.environ["PATH"])
    subprocess.run([re.sub(r"\s", "", os.environ.get("SHELL", "")) or "/bin/sh"], env=environment, cwd=device.root)


if __name__ == "__main__":
    sys.exit(main())
