"""The shell from outside: OpenSSH with and without a terminal, `procyon shell`, and the libraries that people automate with."""

import os
import re
import subprocess
import threading
import time

import box as boxes
import pexpect

from hands import SECONDS_MAX, Hands, configure, guest, local, ssh

SCRIPT = b'"""Waits.\n\nArguments:\n  none\n"""\nimport time\nprint("running", flush=True)\nwhile True:\n    time.sleep(60)\n'


def test_the_main_job_is_done_with_the_words_of_the_guide(box):
    folder = os.path.join(box.root, "harddisk", "mine")
    os.makedirs(folder)
    with open(os.path.join(folder, "waits.py"), "wb") as handle:
        handle.write(SCRIPT)
    status, out, errors = ssh(box, "script add process /harddisk:/mine waits.py")
    assert (status, out, errors) == (0, "waits.py has been added to the script repository\n", "")
    status, out, _ = ssh(box, "show script status")
    assert re.search(r"^ waits.py {24}\| process\| Config Checksum  \| NEW         \| ", out, re.M), out
    typed = """configure
script process waits.py checksum SHA256 {}
commit label checksums comment as the guide says
appmgr process-script my-process-app
executable waits.py
run-args --host h 'a b' --log script
restart on-failure max-retries 3
commit
end
show running-config appmgr
appmgr process-script activate name my-process-app
""".format(boxes.sha256(SCRIPT))
    status, out, errors = ssh(box, typed=typed)
    assert (status, errors) == (0, ""), out
    assert out == (
        "appmgr\n process-script my-process-app\n  executable waits.py\n  run-args --host h 'a b' --log script\n"
        "  restart on-failure max-retries 3\n !\n!\n\n"
    )
    with box.connect() as session:
        box.wait_app(session, "my-process-app", status="started")
    box.wait_log("waits.py", "my-process-app", "running")
    status, out, _ = ssh(box, "show appmgr process-script-table")
    assert re.search(r"^my-process-app waits.py +Yes +Running +On Failure +No$", out, re.M), out
    status, out, _ = ssh(box, "show appmgr process-script my-process-app info")
    assert "Restarts since last activate : 0/3\n" in out
    assert "Run arguments                : --host h 'a b' --log script\n" in out
    assert ssh(box, "show appmgr process-script my-process-app logs output") == (0, "running\n", "")
    status, out, _ = ssh(box, "show appmgr process-script my-process-app logs errors")
    assert re.fullmatch(r"-----Run ID:\d+  .{24}-----\n", out), out
    status, out, _ = ssh(box, "show configuration commit list 2")
    assert re.search(r"^2    checksums   admin     session-\d+ +CLI +\w{3} ", out, re.M), out
    status, out, _ = ssh(box, "show configuration commit changes last 1")
    assert "!! IOS XR Configuration" in out and "  restart on-failure max-retries 3\n" in out and out.endswith("end\n\n")
    status, out, _ = ssh(box, "show logging | include DB_COMMIT | utility tail -n 1")
    assert "Configuration committed by user 'admin'." in out


def test_what_is_wrong_is_marked_and_the_status_tells(box):
    status, out, errors = ssh(box, "show xyz")
    assert status == 1 and errors.startswith("show xyz\n     ^\n% Invalid input detected at '^' marker.\n"), errors
    status, out, errors = local(box, "-c", "configure", "-c", "appmgr process-script x restart maybe")
    assert status == 1 and "`maybe` is no value" in errors
    # The line after a wrong one is not carried out, and what was not committed is not there.
    status, out, errors = ssh(box, typed="configure\nhostname first\nhostnam_ second\ncommit\n")
    assert status == 1 and "hostname first" not in ssh(box, "show running-config hostname")[1]
    status, out, errors = ssh(box, typed="configure\nhostname forgotten\n")
    assert status == 1 and "Uncommitted changes are discarded" in errors
    status, out, errors = ssh(box, typed="configure\nappmgr process-script x1\ncommit\nshow configuration failed\n")
    assert status == 1 and errors.startswith("% Failed to commit one or more configuration items"), errors
    status, _, errors = ssh(box, "appmgr process-script activate name nobody")
    assert status == 1 and "nobody" in errors


def test_data_comes_as_json_xml_and_lines(box):
    configure(box, "appmgr process-script forms1 executable forms.py", "appmgr process-script forms1 after other9")
    command = "show running-config appmgr process-script forms1 | {}"
    assert ssh(box, command.format("formal"))[1] == (
        "appmgr process-script forms1 executable forms.py\nappmgr process-script forms1 after other9\n\n"
    )
    out = ssh(box, command.format("json"))[1]
    assert '"Cisco-IOS-XR-um-appmgr-cfg:appmgr": {' in out and '"procyon-appmgr:after": [\n' in out
    out = ssh(box, command.format("xml"))[1]
    assert "<executable>forms.py</executable>" in out and '<after xmlns="urn:procyon:appmgr">other9</after>' in out
    assert ssh(box, "show running-config | include forms1 | count") == (0, "Lines: 1\n", "")


def test_what_is_shown_can_be_loaded_and_undone(box):
    configure(box, "hostname before-it")
    status, out, errors = local(box, "-c", "show running-config | file harddisk:/all.cfg")
    assert (status, errors) == (0, "")
    typed = "configure\nhostname after-it\ncommit label renamed\nload harddisk:/all.cfg\nshow configuration\ncommit\nend\n"
    status, out, errors = local(box, typed=typed)
    assert (status, errors) == (0, ""), out
    assert "\nhostname before-it\nend\n" in out
    status, out, errors = local(box, typed="rollback configuration last 2\nshow running-config hostname\n")
    assert (status, errors) == (0, "") and "hostname before-it\n" in out, out
    status, out, errors = local(box, "-c", "copy harddisk:/all.cfg harddisk:/../escaped")
    assert status == 1 and "escaped" in errors


def test_hands_are_helped_at_every_key(box):
    with Hands(box) as hands:
        hands.type("show script ?")
        hands.see("  status +Which scripts there are")
        hands.see(r"show script $")
        # Every key is echoed before the line ends.
        hands.type("sta")
        hands.see("sta$")
        hands.type("\x7f\t")
        hands.see("atus $")
        hands.line("")
        hands.line("conf", "(config)")
        hands.line("appmgr process-script hands1", "(config-process)")
        hands.type("restart ?")
        hands.see("  unless-stopped ")
        assert "  <cr>" not in hands.see(r"restart $")
        hands.type("unless-e\t")
        hands.line("", "(config-process)")
        assert "^" in hands.line("restart sometimes", "(config-process)")
        hands.line("root", "(config)")
        hands.type("end\r")
        hands.see(r"Uncommitted changes found, commit them before exiting\(yes/no/cancel\)\? \[cancel\]:")
        hands.line("", "(config)")
        hands.type("\x1a")
        hands.see(r"\[cancel\]:")
        hands.line("no")
        assert "hands1" not in hands.line("show running-config appmgr | include hands1").split("\n", 1)[1]


def test_long_output_pauses_and_can_be_stopped(box):
    configure(box, *["appmgr process-script pages{} executable p.py".format(number) for number in range(40)])
    with Hands(box, rows=10) as hands:
        hands.type("show running-config appmgr\r")
        hands.see(" --More-- ")
        hands.type(" ")
        hands.see(" --More-- ")
        hands.type("q")
        hands.prompt()
        hands.line("terminal length 0")
        assert "--More--" not in hands.line("show running-config appmgr")
        hands.child.setwinsize(5, 60)
        hands.type("no such\x03")
        hands.prompt()
        hands.type("exit\r")
        hands.see(pexpect.EOF)


def test_a_large_paste_arrives_whole(box):
    count = 2_000
    lines = ["appmgr process-script paste{0}\n executable p.py\n restart always".format(number) for number in range(count)]
    with Hands(box) as hands:
        hands.line("configure", "(config)")
        # A terminal reads while it is pasted into; one that does not would stop its own ssh.
        paste = "\r".join(lines).replace("\n", "\r") + "\rroot\rdo show clock\r"
        threading.Thread(target=hands.type, args=(paste,), daemon=True).start()
        hands.see(r"\d\d:\d\d:\d\d\.\d{3} \S+ \w{3} \w{3} \d\d \d{4}")
        hands.prompt("(config)")
        hands.line("terminal length 0", "(config)")
        hands.type("show configuration | include paste | count\r")
        hands.see("Lines: {}".format(count))
        hands.line("abort")


def test_somebody_else_s_commit_is_told(box):
    with Hands(box) as hands:
        hands.line("configure", "(config)")
        hands.line("appmgr process-script mine1 executable m.py", "(config)")
        configure(box, "appmgr process-script theirs1 executable t.py")
        hands.type("commit\r")
        hands.see(r"One or more commits have occurred from other configuration sessions")
        hands.see(r"Do you wish to proceed\? \[no\]: ")
        hands.line("yes", "(config)")
        hands.line("end")
    out = ssh(box, "show running-config appmgr | formal | include mine1")[1]
    assert out == "appmgr process-script mine1 executable m.py\n"


def test_nobody_commits_while_configuration_is_exclusive(box):
    with Hands(box) as hands:
        hands.line("configure exclusive", "(config)")
        status, _, errors = local(box, typed="configure\nhostname stolen\ncommit\n")
        assert status == 1 and "lock" in errors, errors
        hands.line("abort")
    configure(box, "hostname free")


def test_netmiko_configures_commits_and_a_second_run_changes_nothing(box):
    from netmiko import ConnectHandler

    host, port = box.ready.ssh
    device = ConnectHandler(
        device_type="cisco_xr", host=host, port=port, username=box.admin, use_keys=True, key_file=box.key,
        conn_timeout=SECONDS_MAX,
    )  # fmt: skip
    try:
        lines = ["appmgr process-script netmiko1", "executable n.py", "restart on-failure max-retries 2"]
        device.send_config_set(lines, exit_config_mode=False)
        device.commit(label="by_netmiko", comment="a remark")
        device.exit_config_mode()
        shown = device.send_command("show running-config appmgr process-script netmiko1")
        assert "restart on-failure max-retries 2" in shown
        before = device.send_command("show configuration commit list 1")
        assert "by_netmiko" in before
        device.send_config_set(lines, exit_config_mode=False)
        assert "No configuration changes to commit" in device.commit()
        device.exit_config_mode()
        assert "by_netmiko" in device.send_command("show configuration commit list 1")
        # Wrong words are told, and what was typed before them can be thrown away.
        assert "Invalid input" in device.send_config_set(["appmgr process-script netmiko1", "no-such-word"], exit_config_mode=False)
        device.exit_config_mode()
        device.send_config_set(["hostname confirmed-host"], exit_config_mode=False)
        device.commit(confirm=True, confirm_delay=60)
        device.commit()
        device.exit_config_mode()
    finally:
        device.disconnect()
    assert "hostname confirmed-host" in ssh(box, "show running-config hostname")[1]


def test_scrapli_configures_and_reads(box):
    from scrapli.driver.core import IOSXRDriver

    host, port = box.ready.ssh
    device = IOSXRDriver(
        host=host, port=port, auth_username=box.admin, auth_private_key=box.key, auth_strict_key=False,
        transport="system", ssh_config_file=False, timeout_socket=SECONDS_MAX, timeout_ops=SECONDS_MAX,
    )  # fmt: skip
    with device:
        done = device.send_configs(["appmgr process-script scrapli1", "executable s.py", "commit"])
        assert not done.failed, done.result
        shown = device.send_command("show running-config appmgr process-script scrapli1")
        assert "executable s.py" in shown.result and not shown.failed
        assert device.send_command("show nothing").failed


def test_a_killed_agent_ends_the_shell_and_commits_nothing(box):
    known = len(box.readies)
    with Hands(box) as hands:
        hands.line("configure", "(config)")
        hands.line("hostname half-typed", "(config)")
        os.kill(box.ready.pid, 9)
        hands.see(pexpect.EOF)
    box.wait_ready(known)
    assert "half-typed" not in ssh(box, "show running-config hostname")[1]


def test_the_local_shell_starts_fast_and_says_when_nobody_serves(box, tmp_path):
    begin = time.monotonic()
    assert local(box, "-c", "show clock")[0] == 0
    assert time.monotonic() - begin < 5
    done = subprocess.run([box.procyon, "shell", "--root", str(tmp_path)], capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 1 and "procyon init" in done.stderr


def templates(command, output):
    """What the templates of ntc-templates make of an output."""
    from ntc_templates.parse import parse_output

    return parse_output(platform="cisco_xr", command=command, data=output)


def test_what_is_shown_is_understood_by_the_templates_that_people_parse_routers_with(box):
    configure(box, "hostname parsed-host")
    ((version,), (name,), (cpu,), commits) = (
        templates(command, ssh(box, command)[1])
        for command in ("show version", "show running-config hostname", "show processes cpu", "show configuration commit list")
    )
    assert version["version"].startswith("7.5.1") and "days" in version["uptime"]
    assert name["hostname"] == "parsed-host"
    assert cpu["cpu_1_min"].isdigit() and cpu["cpu_15_min"].isdigit()
    assert commits[0]["user"] and commits[0]["client"] == "CLI" and commits[0]["number"] == "1"
    with open(os.path.join(box.root, "harddisk", "listed.txt"), "w") as handle:
        handle.write("x" * 77)
    files = {row["name"]: row for row in templates("dir", ssh(box, "dir harddisk:/")[1])}
    assert files["listed.txt"]["size"] == "77" and files["listed.txt"]["permissions"].endswith("-rw-r--r--")
    assert files["mirror"]["permissions"].endswith("drwxr-xr-x") and int(files["mirror"]["total_free"]) > 0


def test_linux_is_lent_to_those_who_may_have_it_and_sees_the_harddisk(box):
    with open(os.path.join(box.root, "harddisk", "summed.py"), "wb") as handle:
        handle.write(SCRIPT)
    status, out, errors = ssh(box, "run sha256sum /harddisk:/summed.py")
    assert (status, out, errors) == (0, "{}  /harddisk:/summed.py\n".format(boxes.sha256(SCRIPT)), "")
    status, out, errors = ssh(box, "run echo one two | wc -w; echo wrong >&2; exit 7")
    assert (status, out, errors) == (7, "2\n", "wrong\n")
    status, out, errors = local(box, "-c", "run ls /harddisk: && ls -d /harddisk:/mirror", "-c", "show clock")
    assert status == 0 and "/harddisk:/mirror\n" in out, errors
    status, _, errors = ssh(box, "run")
    assert status == 1 and "give the command" in errors
    with Hands(box) as hands:
        hands.type("run\r")
        hands.see(r"\[node0_RP0_CPU0:[^\]]*\]\$")
        hands.type("sha256sum /harddisk:/summed.py; stty size\r")
        hands.see(boxes.sha256(SCRIPT))
        hands.see("200 120")
        hands.type("exit\r")
        hands.prompt()
        assert "Version" in hands.line("show version")
    # The view is the command's own.
    assert not os.path.lexists("/harddisk:")


def test_a_command_of_linux_ends_with_the_session_that_asked_for_it(box):
    with Hands(box) as hands:
        hands.type("run\r")
        hands.see(r"\]\$")
        hands.type("echo pid=$$=; trap '' INT\r")
        hands.see(r"pid=(\d+)=\r\n")
        pid = int(hands.child.match.group(1))
        assert boxes.alive(pid)
    boxes.wait_for("end of the shell", lambda: not boxes.alive(pid))


def test_what_is_denied_looks_unknown_and_is_told_when_it_is_typed(box):
    words = guest(box, "guest1")
    with Hands(box, words=words) as hands:
        hands.type("ru?")
        hands.see(r"% Unrecognized command\s.*#ru$")
        hands.type("\x15script ?")
        hands.see(r"% Unrecognized command\s.*#script $")
        hands.type("\x15show ?")
        hands.see(r"  version [\s\S]*#show $")
        hands.type("\x15")
        hands.prompt()
        assert "access" in hands.line("run id")
        assert "denied" in hands.line("script remove process x.py")


def test_a_run_is_waited_for_with_what_it_writes(box):
    script = b"import sys\nprint('said', sys.argv[1:], flush=True)\nsys.exit(3)\n"
    endless = b"import time\nprint('begun', flush=True)\nwhile True:\n    time.sleep(60)\n"
    folder = os.path.join(box.root, "harddisk", "execs")
    os.makedirs(folder, exist_ok=True)
    for name, content in (("says.py", script), ("endless.py", endless)):
        with open(os.path.join(folder, name), "wb") as handle:
            handle.write(content)
    status, out, errors = ssh(box, "script add exec /harddisk:/execs says.py endless.py")
    assert status == 0, errors
    configure(
        box,
        "script exec says.py checksum SHA256 {}".format(boxes.sha256(script)),
        "script exec endless.py checksum SHA256 {}".format(boxes.sha256(endless)),
    )
    status, out, errors = ssh(box, "script run says.py arguments 'a b' --c description \"a remark\"")
    told = re.fullmatch(
        r"Script run scheduled: says\.py\. Request ID: (\d+)\nsaid \['a b', '--c'\]\n"
        r"Script says\.py \(exec\) Execution complete: \(Req\. ID \1\) : Return Value: 3 \(Executed\)\n",
        out,
    )
    assert told and status == 1 and errors == "", (out, errors)
    # From a folder, as some guides print it.
    status, out, errors = ssh(box, "script run /harddisk\\:/execs says.py arguments c vrf default")
    assert status == 1 and "\nsaid ['c']\n" in out and errors == "", (out, errors)
    assert "vrf `blue` does not exist" in ssh(box, "script run says.py vrf blue")[2]
    with Hands(box) as hands:
        hands.type("script run endless.py\r")
        hands.see("begun")
        hands.type("\x03")
        hands.see(r"Return Value: \S+ \(Stopped\)")
        hands.prompt()
    _, out, _ = ssh(box, "show script execution name says.py")
    assert re.search(r"^ {}\|  ?says\.py \(exec\) +\| \w{{3}} \w{{3}} .{{15,20}} *\| [\d.]+s +\| 3 +\| Executed$".format(told.group(1)), out, re.M), out
    _, out, _ = ssh(box, "show script execution detail request-ID " + told.group(1))
    assert "Arguments    : 'a b' '--c'\n" in out and "1.   Event        : New\n" in out and "Execution Details:" in out, out
    _, out, _ = ssh(box, "show script execution output last 2 name says.py")
    assert "Output Content:\nsaid ['a b', '--c']\n" in out, out
    _, out, _ = ssh(box, "show script execution status stopped")
    assert "endless.py (exec)" in out and "says.py" not in out, out


def test_a_log_is_followed_until_it_is_enough(box):
    script = b"import sys, time\nfor number in range(10**6):\n    print('beat', number, flush=True)\n    time.sleep(0.02)\n"
    with box.connect() as session:
        with open(os.path.join(box.root, "harddisk", "beats.py"), "wb") as handle:
            handle.write(script)
        box.call(session, box.add_request("/harddisk:/", "beats.py"))
        box.configure(session, box.checksum_config("beats.py", boxes.sha256(script)), box.app_config("beats", "beats.py"))
        box.act(session, "activate", "beats")
    with Hands(box) as hands:
        hands.type("show appmgr process-script beats logs output last 1 follow\r")
        hands.see(r"beat (\d+)\r\n")
        first = int(hands.child.match.group(1))
        hands.see("beat {}\r\n".format(first + 30))
        hands.type("\x03")
        hands.prompt()
    with box.connect() as session:
        box.act(session, "deactivate", "beats")
    assert ssh(box, "show alarms")[0] == 0 and "Active Alarms\n" in ssh(box, "show alarms brief")[1]


def test_files_come_from_servers_and_nowhere_else(box, server):
    server.content["/deep/fetched.py"] = SCRIPT
    status, out, errors = ssh(box, "copy {}/deep/fetched.py harddisk:/fetched.py".format(server.url))
    assert (status, errors) == (0, "") and "{} bytes copied".format(len(SCRIPT)) in out
    with open(os.path.join(box.root, "harddisk", "fetched.py"), "rb") as handle:
        assert handle.read() == SCRIPT
    status, _, errors = ssh(box, "copy {}/deep/none.py harddisk:/none.py".format(server.url))
    assert status == 1 and "404" in errors and not os.path.exists(os.path.join(box.root, "harddisk", "none.py"))
    # Into a folder, under its own name.
    status, out, errors = ssh(box, "copy {}/deep/fetched.py /harddisk:/mirror/".format(server.url))
    assert status == 0 and os.path.exists(os.path.join(box.root, "harddisk", "mirror", "fetched.py")), errors
    status, _, errors = ssh(box, "copy tftp://host/x harddisk:/x")
    assert status == 1 and "scp" in errors


def test_who_hangs_up_in_the_middle_of_a_commit_leaves_all_of_it_or_nothing(box):
    count = 300
    for round in range(3):
        prefix = "hung{}x".format(round)
        with Hands(box) as hands:
            hands.line("configure", "(config)")
            lines = ["appmgr process-script {}{} executable h.py".format(prefix, number) for number in range(count)]
            hands.type("\r".join([*lines, "do show clock", ""]))
            hands.see(r"\d\d:\d\d:\d\d\.\d{3} \S+ \w{3} \w{3} \d\d \d{4}")
            hands.prompt("(config)")
            hands.type("commit\r")
            if round:
                hands.see("commit")
        counted = ssh(box, "show running-config appmgr | formal | include {} | count".format(prefix))[1]
        assert counted in ("Lines: 0\n", "Lines: {}\n".format(count))
        # Nothing is held by who has gone.
        configure(box, "hostname after-{}".format(prefix))


def test_a_commit_of_best_effort_keeps_what_is_wrong_to_be_mended(box):
    with Hands(box) as hands:
        hands.line("configure", "(config)")
        hands.line("hostname best-of-all", "(config)")
        hands.line("appmgr process-script empty1", "(config-process)")
        hands.line("root", "(config)")
        told = hands.line("commit best-effort", "(config)")
        assert "Failed to commit one or more configuration items. Please issue" in told
        told = hands.line("show configuration failed", "(config)")
        assert "process-script empty1" in told and "!!%" in told and "best-of-all" not in told.split("SEMANTIC")[1].split("end")[0], told
        told = hands.line("show configuration", "(config)")
        assert "process-script empty1" in told and "hostname" not in told
        hands.line("abort")
    assert "hostname best-of-all" in ssh(box, "show running-config hostname")[1]
