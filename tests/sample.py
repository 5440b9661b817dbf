"""A device that serves the modules below tests/yang as plain configuration, and what is said to it by hand."""

import os

from device import TOP, boxes
from peer import BASE

SAMPLE = "urn:sample"


class SampleBox(boxes.Box):
    """Serves the modules below tests/yang as plain configuration."""

    def agent_command(self):
        modules = ["--yang-dir", os.path.join(TOP, "tests", "yang"), "--module", "sample:*", "--module", "more"]
        return super().agent_command() + modules


def top(inside, attributes=""):
    return '<top xmlns="{}" {}>{}</top>'.format(SAMPLE, attributes, inside)


def rpc(inside, attributes='message-id="1"', namespace=BASE):
    return '<rpc xmlns="{}" {}>{}</rpc>'.format(namespace, attributes, inside)


def subtree(content):
    return '<get-config><source><candidate/></source><filter type="subtree">{}</filter></get-config>'.format(content)
