"""Gives the device a host name through its candidate configuration, and keeps it that way.

The app needs a user with write access: set the leaf `username` of its process-script. Without it the device refuses,
and the refusal, which names that leaf, is in the error log.

Arguments:
    name      the host name
    --every   seconds between two looks, 60 unless told
"""

import argparse
import re
import sys
import time

from cisco.script_mgmt import xrlog
from iosxr.netconf.netconf_lib import NetconfClient, NetconfError

MODULE = "http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg"

log = xrlog.getScriptLogger("set-hostname")
syslog = xrlog.getSysLogger("set-hostname")


class Refused(Exception):
    """The device answered with an rpc-error."""


def carried_out(reply):
    if "<ok/>" not in reply:
        found = re.search(r"<error-message[^>]*>(.*?)</error-message>", reply, re.DOTALL)
        raise Refused(found.group(1).strip() if found else reply)


def keep(name):
    """True when the name had to be set."""
    with NetconfClient() as nc:
        nc.rpc.get_config(config_filter='<hostname xmlns="{}"/>'.format(MODULE))
        found = re.search(r"<system-network-name>\s*(.*?)\s*</system-network-name>", nc.reply)
        if found is not None and found.group(1) == name:
            return False
        carried_out(
            nc.rpc.edit_config(
                config='<hostname xmlns="{}"><system-network-name>{}</system-network-name></hostname>'.format(MODULE, name)
            )
        )
        carried_out(nc.rpc.commit())
        return True


def main():
    parser = argparse.ArgumentParser(description="Gives the device a host name and keeps it that way")
    parser.add_argument("name", help="the host name")
    parser.add_argument("--every", type=float, default=60, help="seconds between two looks")
    arguments = parser.parse_args()
    if not re.match(r"[a-zA-Z0-9_.-]{1,253}$", arguments.name):
        parser.error("a host name has 1 to 253 letters, digits, dots, dashes and underscores")
    while True:
        try:
            if keep(arguments.name):
                syslog.notification("host name set to %s", arguments.name)
        except Refused as error:
            syslog.error("host name not set: %s", error)
            return 1
        except NetconfError as error:
            log.warning("no look this time: %s", error)
        time.sleep(arguments.every)


if __name__ == "__main__":
    sys.exit(main())
