"""Serves the looks at commits of one script: the stream to the agent, one JSON object a line in either direction.

    script: register* ready                         once after each start, of the script or of the agent
    agent:  look         script: (ask, answer)* done

Must not know: what a callback looks at. `cisco.config_validation` and `cisco.script_mgmt.precommit` put their questions
through `ask`.
"""

import json
import os
import sys
import time
import traceback

import procyon_door

# How long an agent that is away is waited for between two tries, in seconds.
TRY_AGAIN = 0.2


class Gone(Exception):
    """The agent has closed the stream."""


class Judge(object):
    """The one stream of this process."""

    def __init__(self):
        self.callbacks = []
        self.exceptions = {}
        self.file = None
        self.is_looking = False
        self.errors = []
        self.warnings = []
        self.modifications = 0
        self.calls = []
        # A callable that makes a callback's argument.
        self.root = None

    def register(self, paths, callback):
        if self.is_looking:
            self.raise_as("InvalidAPICall", "callbacks are registered when the script starts")
        self.callbacks.append((paths, callback))
        if os.environ.get("PROCYON_DOOR_FD"):
            if self.file is None:
                self.file = self.connect()
            else:
                self.say_registered(paths, callback)

    def connect(self):
        """A new stream on which all callbacks are registered."""
        self.file = procyon_door.stream(b"judge").makefile("rwb")
        for paths, callback in self.callbacks:
            self.say_registered(paths, callback)
        return self.file

    def say_registered(self, paths, callback):
        self.exchange({"register": {"paths": paths, "name": name_of(callback)}})

    def ask(self, question):
        """The answer of the agent to a question about the commit that is being looked at."""
        if not self.is_looking:
            self.raise_as("InvalidAPICall", "the configuration can be looked at in a callback only")
        answer = self.exchange(question)
        if "set" in question or "delete" in question:
            self.modifications += 1
        return answer

    def exchange(self, message):
        self.say(message)
        answer = self.hear()
        if isinstance(answer, dict) and "refused" in answer:
            refused = answer["refused"]
            self.raise_as(refused["exception"], refused["message"])
        return answer

    def raise_as(self, name, text):
        raise self.exceptions.get(name, RuntimeError)(text)

    def say(self, message):
        try:
            self.file.write(json.dumps(message).encode("utf-8") + b"\n")
            self.file.flush()
        except (OSError, ValueError):
            raise Gone()

    def hear(self):
        try:
            line = self.file.readline()
        except OSError:
            raise Gone()
        if not line.endswith(b"\n"):
            raise Gone()
        return json.loads(line.decode("utf-8"))

    def looks(self, look_at):
        """Serves looks for as long as the agent asks, and waits for the next agent when it has gone."""
        while True:
            try:
                if self.file is None:
                    self.connect()
                self.say("ready")
                while True:
                    look_at(self.hear()["look"])
            except (Gone, procyon_door.DoorError):
                self.file = None
                time.sleep(TRY_AGAIN)

    def begin(self):
        self.errors, self.warnings = [], []
        self.modifications, self.calls = 0, []
        self.is_looking = True

    def call(self, number, argument):
        """Calls one callback, and notes what it did."""
        before = (time.monotonic(), len(self.errors), len(self.warnings), self.modifications)
        try:
            self.callbacks[number][1](argument)
        finally:
            began, errors, warnings, modifications = before
            self.calls.append(
                {
                    "callback": number,
                    "microseconds": int((time.monotonic() - began) * 1000000),
                    "errors": len(self.errors) - errors,
                    "warnings": len(self.warnings) - warnings,
                    "modifications": self.modifications - modifications,
                }
            )

    def end(self, crash=None):
        self.is_looking = False
        flush()
        done = {"errors": self.errors, "warnings": self.warnings, "calls": self.calls}
        if crash is not None:
            done["crash"] = crash
        self.say({"done": done})


judge = Judge()


def name_of(callback):
    return str(getattr(callback, "__qualname__", None) or type(callback).__name__)


def remark(paths, message):
    return {"paths": paths, "message": str(message)}


def serve(report):
    """Keeps a script that has registered callbacks. Each is called with what `judge.root` makes."""

    def look_at(look):
        judge.begin()
        crash = None
        for number in look["callbacks"]:
            try:
                judge.call(number, judge.root())
            except Gone:
                raise
            except BaseException as error:
                # Without the frames of this file.
                error.__traceback__ = error.__traceback__.tb_next.tb_next
                crash = told(error)
                report(error)
                break
        judge.end(crash)

    judge.looks(look_at)


def serve_each(run, report):
    """Runs a whole script for each commit, in a copy of this process."""

    def look_at(look):
        judge.begin()
        flush()
        child = os.fork()
        if child == 0:
            attend(run, report)
        _, status = os.waitpid(child, 0)
        # The child has answered, unless it was cut off; then nobody has, and the agent is told how it ended.
        judge.is_looking = False
        if status != 0:
            judge.say({"done": {"crash": "the script was ended by {}".format(ending(status))}})

    judge.looks(look_at)


def attend(run, report):
    """The child's part; does not return."""
    crash = None
    try:
        run()
    except SystemExit as error:
        if error.code not in (None, 0):
            crash = "the script ended with status {}".format(error.code)
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next
        crash = told(error)
        report(error)
    try:
        judge.end(crash)
    except Gone:
        os._exit(0)
    os._exit(0)


def ending(status):
    if os.WIFSIGNALED(status):
        return "signal {}".format(os.WTERMSIG(status))
    return "os._exit({})".format(os.WEXITSTATUS(status))


def told(error):
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
