"""Watches the CPU of the device and says so in the system log when it reaches a threshold.

Arguments:
    threshold   percent; a one-minute average of at least this much is an error in the system log
    --every     seconds between two looks, 30 unless told
    --node      the node to watch, 0/RP0/CPU0 unless told
"""

import argparse
import re
import sys
import time

import xmltodict

from cisco.script_mgmt import xrlog
from iosxr.netconf.netconf_lib import NetconfClient, NetconfError

REQUEST = """
<system-monitoring xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-wdsysmon-fd-oper">
  <cpu-utilization>
    <node-name>{}</node-name>
    <total-cpu-one-minute/>
  </cpu-utilization>
</system-monitoring>"""

log = xrlog.getScriptLogger("cpu-watch")
syslog = xrlog.getSysLogger("cpu-watch")


def one_minute(reply):
    """The one-minute average out of a reply, or None where the device does not tell."""
    found = re.search(r"<data>\s+(<system-monitoring.*</system-monitoring>).*</data>", reply, re.DOTALL)
    if found is None:
        return None
    tree = xmltodict.parse(found.group(1))
    return int(tree["system-monitoring"]["cpu-utilization"]["total-cpu-one-minute"])


def look(node, threshold):
    with NetconfClient() as nc:
        nc.rpc.get(request=REQUEST.format(node))
        load = one_minute(nc.reply)
    if load is None:
        syslog.warning("node %s does not tell its CPU utilization: %s", node, nc.reply)
    elif load >= threshold:
        syslog.error("CPU utilization is %d, threshold value is %d", load, threshold)
    else:
        log.info("CPU utilization is %d, threshold value is %d", load, threshold)


def main():
    parser = argparse.ArgumentParser(description="Watches the CPU of the device")
    parser.add_argument("threshold", type=int, help="percent")
    parser.add_argument("--every", type=float, default=30, help="seconds between two looks")
    parser.add_argument("--node", default="0/RP0/CPU0", help="the node to watch")
    arguments = parser.parse_args()
    log.info("watching node %s every %g s", arguments.node, arguments.every)
    while True:
        try:
            look(arguments.node, arguments.threshold)
        except NetconfError as error:
            # The agent may just be starting again.
            log.warning("no look this time: %s", error)
        time.sleep(arguments.every)


if __name__ == "__main__":
    sys.exit(main())
