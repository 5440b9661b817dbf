"""Words of the shell that other tests do not use: containers and their logs, Python, colours, files of hosts that speak SSH."""

import os
import re

import box as boxes

from hands import NACM, Hands, configure, guest, local, ssh, ssh_command

BEATS = "command /bin/sh -c 'n=0; while :; do n=$((n+1)); echo beat $n; sleep 0.1; done'"


def test_containers_are_told_and_moved_by_their_words(box):
    configure(
        box,
        "container clock", "command /bin/sh -c 'echo tick; echo tock; exec sleep 1000'", "root",
        "container lamp", "command /bin/sleep 1000", "group night",
    )  # fmt: skip

    def stands(name, state):
        boxes.wait_for(name + " " + state, lambda: re.search("^{} +{} ".format(name, state), ssh(box, "show container")[1], re.M))

    stands("clock", "Running")
    stands("lamp", "Running")
    status, out, errors = ssh(box, "show container clock")
    assert status == 0 and "  State                        : Running\n" in out and "sleep 1000" in out, (out, errors)
    boxes.wait_for("all that it prints", lambda: "tock" in ssh(box, "show log clock")[1])
    assert ssh(box, "container stop cl*") == (0, "clock: done\n", "")
    stands("clock", "Stopped")
    out = ssh(box, "show container clock")[1]
    assert "signal SIGTERM, as admin asked\n    | tick\n    | tock\n" in out, out
    assert ssh(box, "container restart rolling at-once 2 group night") == (0, "lamp: done\n", "")
    stands("lamp", "Running")
    assert '"procyon-container:containers-state": {' in ssh(box, "show container lamp | json")[1]
    status, out, errors = ssh(box, "show container nobody")
    assert status == 1 and "`show container` lists them" in out, (out, errors)
    for wrong in ("container start nobody", "container signal nonsense lamp", "container stop"):
        status, out, errors = ssh(box, wrong)
        assert status == 1 and out == "" and errors, wrong
    # In configuration mode the word is configuration.
    status, out, errors = local(box, typed="configure\ncontainer lamp\npwd\ndo container stop lamp\nend\n")
    assert (status, out, errors) == (0, "container lamp\nlamp: done\n", "")
    configure(box, "no container clock", "no container lamp")


def test_orders_to_containers_are_under_the_access_rules(box):
    configure(box, "container still", "command /bin/sleep 1000")
    words = guest(box, "guest2")
    with Hands(box, words=words) as hands:
        hands.type("container ?")
        hands.see(r"% Unrecognized command\s.*#container $")
        hands.type("stop still\r")
        assert "denied" in hands.prompt()
        assert "still " in hands.line("show container")
    rule = (
        '<config xmlns="{}"><nacm xmlns="{}"><rule-list><name>guest2</name><rule><name>starts</name><module-name>procyon-container'
        "</module-name><rpc-name>start</rpc-name><access-operations>exec</access-operations><action>permit</action></rule></rule-list>"
        "</nacm></config>"
    )
    with box.connect() as session:
        box.configure(session, rule.format(boxes.NETCONF, NACM))
    with Hands(box, words=words) as hands:
        hands.type("container ?")
        listed = hands.see(r"  start [\s\S]*#container $")
        assert "  stop " not in listed
        hands.type("start still\r")
        assert "still: done" in hands.prompt()
    configure(box, "no container still")


def test_a_log_is_told_by_name_and_time_and_goes_on(box):
    configure(box, "container beats", BEATS)
    boxes.wait_for("some beats", lambda: "beat 3" in ssh(box, "show log beats last 9")[1])
    status, out, errors = ssh(box, "show log beats last 2 output")
    assert re.fullmatch(r"(\w{3} \d\d [\d:]{8} container:beats: beat \d+\n){2}", out), (out, errors)
    status, out, _ = ssh(box, "show log container:be* since yesterday | include beat | count")
    assert status == 0 and int(out.split()[-1]) >= 3
    status, _, errors = ssh(box, "show log nobody")
    assert status == 1 and "no log has such a name" in errors
    assert "`soon` is no time" in ssh(box, "show log beats since soon")[2]
    # Without a name it is the system log, as people abbreviate it.
    assert "Log Buffer (" in ssh(box, "show log")[1] and "Log Buffer (" in ssh(box, "show log last 1")[1]
    with Hands(box) as hands:
        hands.type("show log beats follow\r")
        hands.see(r"beat (\d+)\r\n")
        first = int(hands.child.match.group(1))
        hands.see("beat {}\r\n".format(first + 5))
        hands.type("\x03")
        hands.prompt()
        assert "Version" in hands.line("show version")
    configure(box, "no container beats")


def test_scripts_are_told_which_python_they_have(box):
    status, out, errors = ssh(box, "show script python")
    assert status == 0 and re.search(r"^Python +: 3\.\d+\.\d+ \(CPython\)$", out, re.M), (out, errors)
    modules = re.search("^Modules in it +: (.*)$", out, re.M).group(1).split(", ")
    assert {"cisco", "iosxr", "xmltodict"} <= set(modules)
    status, out, errors = ssh(box, "show script python | json")
    assert status == 1 and out == "" and "no form as json" in errors


def test_colours_are_for_terminals_whose_users_want_them(box):
    on_the_box = [box.procyon, "shell", "--root", box.root]
    bold, red = "\x1b[1m", "\x1b[31m"
    with Hands(box, words=on_the_box, TERM="xterm", NO_COLOR="") as hands:
        assert red in hands.line("show xyz") and bold in hands.line("show clock")
        hands.line("terminal color disable")
        assert red not in hands.line("show xyz") and bold not in hands.line("show clock")
    with Hands(box, words=on_the_box, TERM="xterm", NO_COLOR="1") as hands:
        assert "\x1b[" not in hands.line("show xyz")
    # Programs at the other end of SSH say nothing of colours, and get none.
    with Hands(box, TERM="xterm-256color") as hands:
        assert "\x1b[" not in hands.line("show xyz")
    words = ssh_command(box, terminal=True)
    words[1:1] = ["-o", "SendEnv=COLORTERM NO_COLOR"]
    with Hands(box, words=words, COLORTERM="truecolor", NO_COLOR="") as hands:
        assert red in hands.line("show xyz")
        hands.line("configure", "(config)")
        hands.line("hostname in-colours", "(config)")
        assert "\x1b[32m+hostname in-colours\x1b[0m" in hands.line("show commit changes diff", "(config)")
        hands.line("abort")
    with Hands(box, words=words, COLORTERM="truecolor", NO_COLOR="1") as hands:
        assert "\x1b[" not in hands.line("show xyz")


def test_files_come_from_and_go_to_hosts_that_speak_ssh(box):
    host, port = box.ready.ssh
    there = "scp://{}@{}:{}/harddisk:/{{}}".format(box.admin, host, port)
    content = b"x" * 100_000 + b"end"
    with open(os.path.join(box.root, "harddisk", "far.py"), "wb") as handle:
        handle.write(content)
    bring = "copy {} harddisk:/near.py".format(there.format("far.py"))
    status, _, errors = ssh(box, bring)
    assert status == 1 and "is not known here" in errors and "SHA256:" in errors, errors
    with Hands(box) as hands:
        hands.type(bring + "\r")
        hands.see(r"shall it be known from now on\? \[no\]: ")
        hands.type("no\r")
        assert "is not trusted" in hands.prompt()
        hands.type(bring + "\r")
        hands.see(r"shall it be known from now on\? \[no\]: ")
        hands.type("yes\r")
        hands.see("Password of {} at {}: $".format(box.admin, host))
        hands.type("hidden\r")
        # What was typed was not shown.
        assert "hidden" not in hands.see("Password of {} at {}: $".format(box.admin, host))
        hands.type("\r")
        assert "nothing was copied" in hands.prompt()
    status, _, errors = ssh(box, bring)
    public = re.search("^ssh-ed25519 (\\S+)", errors, re.M)
    assert status == 1 and public, errors
    with box.connect() as session:
        box.configure(
            session,
            '<config xmlns="{}"><system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><name>{}</name><authorized-key>'
            "<name>itself</name><algorithm>ssh-ed25519</algorithm><key-data>{}</key-data></authorized-key></user></authentication></system>"
            "</config>".format(boxes.NETCONF, box.admin, public.group(1)),
        )
    status, out, errors = ssh(box, bring)
    assert (status, out, errors) == (0, "{} bytes copied\n".format(len(content)), "")
    status, out, errors = ssh(box, "copy harddisk:/near.py " + there.format("pushed.py"))
    assert (status, out, errors) == (0, "{} bytes copied\n".format(len(content)), "")
    for name in ("near.py", "pushed.py"):
        with open(os.path.join(box.root, "harddisk", name), "rb") as handle:
            assert handle.read() == content
    status, _, errors = ssh(box, "copy {} harddisk:/none.py".format(there.format("none.py")))
    assert status == 1 and "no such file" in errors and not os.path.exists(os.path.join(box.root, "harddisk", "none.py"))
    assert "read by others" in ssh(box, "copy scp://a:b@h/x harddisk:/x")[2]
    with open(os.path.join(box.root, "keys", "known_hosts"), "w") as handle:
        handle.write("[{}]:{} ssh-ed25519 {}\n".format(host, port, public.group(1)))
    status, _, errors = ssh(box, bring)
    assert status == 1 and "another key than before" in errors


def test_scripts_are_updated_by_words(box, server):
    old, new = b'print("old")\n', b'print("new")\n'
    server.content["/kept/kept.py"] = old
    line = "scripts exec kept.py condition-manual url {}/kept vrf default".format(server.url)
    configure(box, "script exec kept.py checksum SHA256 {}".format(boxes.sha256(old)), line)
    assert ssh(box, "show running-config scripts") == (0, line + "\n\n", "")
    assert ssh(box, "script update kept.py") == (0, "kept.py has been updated in the script repository\n", "")
    assert ssh(box, "script update manual exec-script") == (0, "kept.py is up to date\n", "")
    assert ssh(box, "script update") == (0, "kept.py is up to date\n", "")
    # What is not approved is told for one and for all, and the others go on.
    server.content["/kept/kept.py"] = new
    for command in ("script update manual all", "script update none.py kept.py"):
        status, out, errors = ssh(box, command)
        assert status == 1 and re.search("kept.py`? is not updated: ", errors) and out == "", (command, out, errors)
    assert "it is not configured from where script `none.py` is updated" in errors
    configure(box, "no " + line.split(" url")[0], "no script exec kept.py")


def test_scripts_look_at_a_target_before_it_is_committed(box):
    script = (
        "from cisco.config_validation import register_validate_callback\n"
        "def check(root):\n"
        "    for item in root.get_list('/um-appmgr-cfg:appmgr/process-scripts/process-script'):\n"
        "        if item.get_node('restart') is None:\n"
        "            item.set_node('restart', 'on-failure')\n"
        "register_validate_callback('/um-appmgr-cfg:appmgr/*', check)\n"
    ).encode()
    with open(os.path.join(box.root, "harddisk", "looks.py"), "wb") as handle:
        handle.write(script)
    assert ssh(box, "script add config harddisk: looks.py")[0] == 0
    configure(box, "script config looks.py checksum SHA256 {}".format(boxes.sha256(script)), "configuration validation scripts")
    typed = (
        "terminal exec prompt no-timestamp\nconfigure\nappmgr process-script looked1 executable l.py\nvalidate config-scripts\n"
        "validate config-scripts apply-policy-modifications\nshow configuration | formal\nvalidate config-scripts\nabort\n"
    )
    status, out, errors = local(box, typed=typed)
    amended = " appmgr process-script looked1 restart\n"
    assert (status, errors) == (0, "") and out == (
        "The scripts would modify, `validate config-scripts apply-policy-modifications` does it:\n" + amended
        + "% Policy modifications were made to target configuration, please issue 'show configuration' from this session to view the resulting configuration\n" + amended
        + "appmgr process-script looked1 executable l.py\nappmgr process-script looked1 restart on-failure\n"
        + "The scripts have nothing to modify\n"
    ), out
    configure(box, "no configuration validation scripts", "no script config looks.py")


def test_tab_offers_what_the_device_has_now(box):
    configure(box, *["appmgr process-script tabbed{:03} executable t.py".format(number) for number in range(250)])
    with Hands(box) as hands:
        hands.type("show appmgr process-script tabb\t")
        hands.see("tabbed$")
        # Of very many only some are shown.
        hands.type("?")
        hands.see(r"  tabbed000\r\n[\s\S]*  tabbed199\r\n  tabbed249\r\n  \(49 more\)\r\n[\s\S]*tabbed$")
        hands.type("24\t")
        hands.see(r"tabbed240  tabbed241  [\s\S]*tabbed249\r\n[\s\S]*tabbed24$")
        hands.type("9\t")
        hands.see("9 $")
        hands.line("\x15")
        hands.line("configure", "(config)")
        hands.type("appmgr process-script tabbed249 username {}\t".format(box.admin[:3]))
        hands.see(box.admin + " $")
        hands.line("\x15", "(config)")
        # What is typed and not committed yet is there, and what others commit meanwhile.
        hands.line("appmgr process-script tabbed9x executable t.py", "(config)")
        hands.type("no appmgr process-script tabbed9\t")
        hands.see("tabbed9x $")
        hands.line("\x15", "(config)")
        configure(box, "appmgr process-script tabbed8y executable t.py")
        hands.type("no appmgr process-script tabbed8\t")
        hands.see("tabbed8y $")
        hands.line("\x15", "(config)")
        hands.line("abort")
    configure(box, "no appmgr")
