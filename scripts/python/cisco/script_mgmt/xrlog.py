"""Logs of a script.

    log = xrlog.getScriptLogger('sample')      lines in the output log of the run
    syslog = xrlog.getSysLogger('sample')      lines in the system log of the device, and in the error log of the run

A logger can be made as often as one likes and used from any thread. Whatever happens, logging never raises into the
script and never waits: a system log that cannot be reached misses the line, the error log of the run still has it.

Environment:
    PROCYON_DOOR_FD   a descriptor inherited from the app manager; a line of the system log is one packet, a JSON object
    PROCYON_NODE      the name of this node at the head of a line
    PROCYON_LOG_LEVEL how much script loggers write: CRITICAL, ERROR, WARNING, INFO or DEBUG; DEBUG if not set
"""

import json
import logging
import os
import socket
import sys
import time
import traceback

__all__ = ["getScriptLogger", "getSysLogger"]

DEFAULT_NODE = "RP/0/RP0/CPU0"

# What names the sender in a line of the system log.
PROCESS = "python3_xr"
CATEGORY = "OS"
GROUP = "SCRIPT_MGMT"

# A longer text is cut for the system log: a datagram has to fit into the receiver's buffer whole.
SYSLOG_TEXT_BYTES_MAX = 8 * 1024

# Month names as in the C locale, whatever locale the script has set.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_script_loggers = {}


def getScriptLogger(name):
    """A logger that writes lines like `[2021-08-20 06:20:55,609] INFO [name]:: text` to standard output."""
    name = str(name)
    logger = _script_loggers.get(name)
    if logger is None:
        # Not from logging.getLogger: what the script does to the root logger must not double or silence these lines.
        logger = logging.Logger(name, _level())
        handler = _StandardOutput()
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s [%(name)s]:: %(message)s"))
        logger.addHandler(handler)
        logger = _script_loggers.setdefault(name, logger)
    return logger


def getSysLogger(name):
    """A logger that writes to the system log; its severities are those of RFC 5424."""
    return SysLogger(name)


class SysLogger(object):
    """Writes to the system log of the device and to standard error. The text is formatted as `logging` does it."""

    def __init__(self, name):
        self.name = str(name)

    def emergency(self, message, *arguments, **options):
        self._write(0, "EMERGENCY", message, arguments, options)

    def alert(self, message, *arguments, **options):
        self._write(1, "ALERT", message, arguments, options)

    def critical(self, message, *arguments, **options):
        self._write(2, "CRITICAL", message, arguments, options)

    def error(self, message, *arguments, **options):
        self._write(3, "ERROR", message, arguments, options)

    def exception(self, message, *arguments, **options):
        """An error, with the traceback of the exception that is being handled."""
        options.setdefault("exc_info", True)
        self._write(3, "ERROR", message, arguments, options)

    def warning(self, message, *arguments, **options):
        self._write(4, "WARNING", message, arguments, options)

    def notification(self, message, *arguments, **options):
        self._write(5, "NOTIFICATION", message, arguments, options)

    def info(self, message, *arguments, **options):
        self._write(6, "INFO", message, arguments, options)

    def debug(self, message, *arguments, **options):
        self._write(7, "DEBUG", message, arguments, options)

    def _write(self, severity, code, message, arguments, options):
        try:
            text = "Script-{}: {}".format(self.name, _formatted(message, arguments))
            trace = _trace(options.get("exc_info"))
            if trace:
                text = text + "\n" + trace
            _to_standard_error(_line(time.time(), severity, code, text))
            _to_system_log(severity, code, text)
        except Exception:
            # Logging must never be what ends a script.
            pass


def _level():
    level = logging.getLevelName(os.environ.get("PROCYON_LOG_LEVEL", "DEBUG"))
    return level if isinstance(level, int) else logging.DEBUG


class _StandardOutput(logging.StreamHandler):
    """Standard output as it is at the moment of writing: scripts replace it."""

    def __init__(self):
        logging.StreamHandler.__init__(self, sys.stdout)

    def emit(self, record):
        if sys.stdout is not None:
            self.stream = sys.stdout
            logging.StreamHandler.emit(self, record)


def _formatted(message, arguments):
    text = str(message)
    if not arguments:
        return text
    try:
        if len(arguments) == 1 and isinstance(arguments[0], dict) and arguments[0]:
            return text % arguments[0]
        return text % arguments
    except (TypeError, ValueError, KeyError):
        return "{} {}".format(text, " ".join(repr(argument) for argument in arguments))


def _trace(exc_info):
    if not exc_info:
        return ""
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    elif not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    if exc_info[0] is None:
        return ""
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def _line(now, severity, code, text):
    moment = time.localtime(now)
    stamp = "{} {:2d} {:02d}:{:02d}:{:02d}.{:03d} {}".format(
        MONTHS[moment.tm_mon - 1],
        moment.tm_mday,
        moment.tm_hour,
        moment.tm_min,
        moment.tm_sec,
        int(now * 1000) % 1000,
        time.strftime("%Z", moment),
    )
    node = os.environ.get("PROCYON_NODE") or DEFAULT_NODE
    return "{}:{}: {}[{}]: %{}-{}-{}-{} : {}\n".format(
        node, stamp, PROCESS, os.getpid(), CATEGORY, GROUP, severity, code, text
    )


def _to_standard_error(line):
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        # Closed by the script: the system log may still be reached.
        pass


def _to_system_log(severity, code, text):
    number = os.environ.get("PROCYON_DOOR_FD", "")
    if not number.isdigit():
        return
    cut = text.encode("utf-8", "replace")[:SYSLOG_TEXT_BYTES_MAX].decode("utf-8", "ignore")
    record = {
        "process": PROCESS,
        "pid": os.getpid(),
        "category": CATEGORY,
        "group": GROUP,
        "severity": severity,
        "code": code,
        "text": cut,
    }
    try:
        with socket.fromfd(int(number), socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            # A descriptor that the script has made something else of must not get our lines.
            if door.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_SEQPACKET:
                return
            line = json.dumps(record, ensure_ascii=False).encode("utf-8")
            door.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except (OSError, OverflowError):
        # Nobody there, or too busy to take it.
        pass
