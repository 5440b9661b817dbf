"""The device's command line, for scripts that run on the device.

    helper = XrcliHelper()
    result = helper.xrcli_exec("show version")
    if result["status"] == "success":
        print(result["output"])

Commands run with the rights of the run's account, like its NETCONF sessions. A command that comes to nothing does not
raise: its `status` is `error`, and `output` holds what was shown and why. Whatever the script makes of that, the run's
error log has a line of it, and so has the history of runs.
"""

import json
import logging
import re
import struct
import sys

import procyon_door

__all__ = ["XrcliHelper"]

# How long a command may take, in seconds; `timeout` of a helper changes it.
DEFAULT_TIMEOUT = 300

# A frame: its kind, and how many bytes follow (see `procyon shell`).
HEAD = struct.Struct(">cI")

_log = logging.getLogger("xrcli")


class XrcliHelper(object):
    """Runs commands and applies configuration; each call is a shell of its own."""

    def __init__(self, debug=False):
        self.debug = debug
        self.timeout = DEFAULT_TIMEOUT

    def xrcli_exec(self, cmd):
        """Runs one command, which may be piped (`show run | include x`)."""
        return self._run(str(cmd).strip())

    def xr_apply_config_string(self, cfg):
        """Configures these lines, separated by newlines, and commits them: all or none."""
        lines = [line.rstrip() for line in re.split(r"[\r\n]+", str(cfg))]
        lines = [line for line in lines if line.strip() and line.strip() not in ("end", "commit")]
        if not lines:
            return {"status": "error", "output": "there is nothing to configure"}
        # A line that is wrong ends the shell before the commit.
        return self._run("\n".join(["configure"] + [_dedented(lines)] + ["root", "commit", "end"]))

    def xr_apply_config_file(self, path):
        """Configures the lines of a file, and commits them: all or none."""
        try:
            with open(path, "r", encoding="utf-8") as handle:
                text = handle.read()
        except (OSError, UnicodeDecodeError) as error:
            return {"status": "error", "output": "{}: {}".format(path, error)}
        return self.xr_apply_config_string(text)

    def _run(self, commands):
        if self.debug:
            _log.debug("command: %s", commands)
        try:
            shown, wrong, status = self._converse(commands)
        except (procyon_door.DoorError, OSError, EOFError) as error:
            shown, wrong, status = "", "no command line: {}".format(error), 1
        if status == 0:
            result = {"status": "success", "output": shown}
        else:
            result = {"status": "error", "output": shown + wrong or "the command ended with status {}".format(status)}
            _note(commands, result["output"])
        if self.debug:
            _log.debug("result: %s", result)
        return result

    def _converse(self, commands):
        """What the shell has shown, what it has said was wrong, and its exit status."""
        shown, wrong = [], []
        with procyon_door.stream(b"shell") as stream:
            stream.settimeout(self.timeout)
            stream.sendall(json.dumps({"commands": commands, "terminal": None}).encode("utf-8") + b"\n")
            while True:
                kind, length = HEAD.unpack(_exactly(stream, HEAD.size))
                content = _exactly(stream, length)
                if kind == b"o":
                    shown.append(content)
                elif kind == b"e":
                    wrong.append(content)
                elif kind == b"x":
                    return _text(shown), _text(wrong), struct.unpack(">I", content)[0]


def _note(commands, output):
    """One line for the error log: `xrcli: show nothing: % Invalid input detected at '^' marker.`"""
    command = commands.partition("\n")[0].strip()
    said = [line.strip() for line in output.splitlines() if line.strip()]
    try:
        sys.stderr.write("xrcli: {}: {}\n".format(command, said[-1] if said else "it failed"))
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        # A script may have closed its error stream.
        pass


def _dedented(lines):
    """The lines without a margin that all of them share: what stands at the margin ends modes."""
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[margin:] for line in lines)


def _exactly(stream, length):
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            raise EOFError("the device ended it")
        data += more
    return data


def _text(pieces):
    return b"".join(pieces).decode("utf-8", "replace")
