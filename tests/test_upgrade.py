"""A store that was written with other modules, or by another version: it loads, or says what it cannot place."""

import os
import subprocess

import pytest

from device import boxes, one_box
from test_history import EXEC_OPER, HISTORY, host, set_host

SITE = "urn:test:site"
OLD = "module site { namespace urn:test:site; prefix s; container site { leaf name { type string; } leaf room { type string; } } }"
NEW = "module site { namespace urn:test:site; prefix s; container site { leaf name { type string; } leaf room { type uint8; } } }"


class SiteBox(boxes.Box):
    """A box that knows the module of its site, or does not."""

    knows_site = True

    def agent_command(self):
        site = ["--yang-dir", os.path.dirname(self.root), "--module", "site"] if self.knows_site else []
        return super().agent_command() + site

    def write_module(self, text):
        with open(os.path.join(os.path.dirname(self.root), "site.yang"), "w", encoding="utf-8") as handle:
            handle.write(text)


@pytest.fixture
def site_box(tmp_path):
    with open(str(tmp_path / "site.yang"), "w", encoding="utf-8") as handle:
        handle.write(OLD)
    with one_box(tmp_path, SiteBox) as made:
        with made.connect() as session:
            config = '<config xmlns="{}"><site xmlns="{}"><name>north</name><room>A 12</room></site></config>'
            session.edit_config(target="candidate", config=config.format(boxes.NETCONF, SITE))
            session.commit()
            set_host(session, "start")
        yield made


def restart(box):
    box.command("agent", "--root", box.root, "--stop")
    box.agent.wait(boxes.STOP_SECONDS_MAX)
    box.start()


def not_placed(session):
    """Path to reason of what was left out, and the folder that keeps it."""
    query = '<config-manager xmlns="{}"><global><config-commit><not-placed xmlns="{}"/></config-commit></global></config-manager>'
    data = session.get(filter=("subtree", query.format(EXEC_OPER, HISTORY))).data
    name = "{%s}" % HISTORY
    nodes = {node.find(name + "path").text: node.find(name + "reason").text for node in data.iter(name + "node")}
    kept_in = [node.text for node in data.iter(name + "kept-in")]
    return nodes, kept_in[0] if kept_in else None


def site(session):
    data = session.get_config(source="running", filter=("subtree", '<site xmlns="{}"/>'.format(SITE))).data
    return {boxes.local(leaf): leaf.text for leaf in data.iter() if len(leaf) == 0 and leaf is not data}


def test_a_module_that_is_left_out_is_named_and_nothing_is_lost(site_box):
    site_box.knows_site = False
    restart(site_box)
    with site_box.connect() as session:
        nodes, kept_in = not_placed(session)
        assert list(nodes) == ["/site"] and SITE in nodes["/site"]
        assert os.listdir(kept_in)
        assert any("/site" in line for line in site_box.said), list(site_box.said)
        assert host(session) == "start"
        set_host(session, "meanwhile")
    site_box.knows_site = True
    restart(site_box)
    with site_box.connect() as session:
        assert not_placed(session) == ({}, None)
        assert site(session) == {"name": "north", "room": "A 12"}
        assert host(session) == "meanwhile"


def test_a_value_that_a_newer_revision_does_not_take_is_named(site_box):
    site_box.write_module(NEW)
    restart(site_box)
    with site_box.connect() as session:
        nodes, _ = not_placed(session)
        assert list(nodes) == ["/site:site/room"] and "A 12" in nodes["/site:site/room"]
        assert site(session) == {"name": "north"}


def test_a_store_of_a_version_that_is_not_known_is_not_touched(site_box):
    site_box.command("agent", "--root", site_box.root, "--stop")
    site_box.agent.wait(boxes.STOP_SECONDS_MAX)
    commits = os.path.join(site_box.root, "config", "commits")
    newest = os.path.join(commits, max(os.listdir(commits)))
    with open(newest, "rb") as handle:
        head, body = handle.read().split(b"\n", 1)
    assert head == b"procyon-commit 1"
    body = body[: body.rindex(b"sha256: ")]
    text = b"procyon-commit 9\n" + body
    text += b"sha256: " + boxes.sha256(text).encode() + b"\n"
    with open(newest, "wb") as handle:
        handle.write(text)
    done = subprocess.run(site_box.agent_command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert newest in done.stderr and "procyon-commit 9" in done.stderr, done.stderr
    with open(newest, "rb") as handle:
        assert handle.read() == text
