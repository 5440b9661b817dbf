"""Whatever is typed wrong, pasted, broken off or done by two at once: it is told, and nothing is lost or half done."""

import os
import re
import subprocess

import box as boxes

from hands import Hands, configure, local, ssh

OTHERS = (
    "One or more commits have occurred from other configuration sessions since this session started or since the last commit was "
    "made from this session. You can use the 'show configuration commit changes' command to browse the changes.\n"
    "Do you wish to proceed? [no]: "
)
UNCOMMITTED = "Uncommitted changes found, commit them before exiting(yes/no/cancel)? [cancel]:"

# A line, the column of the marker, and what is said below it.
WRONG = [
    ("show nonsense", 5, "% Invalid input detected at '^' marker.\n% Expected: "),
    ("s", 0, "% Ambiguous command: it may mean "),
    ("show appmgr process-script-table nonsense", 33, "% Invalid input detected at '^' marker."),
    ("show logging last many", 18, "% Invalid input detected at '^' marker.\n% Expected: <1-1000000>\n"),
    ("script add nonsense harddisk: a.py", 11, "% Invalid input detected at '^' marker.\n% Expected: config, "),
    ("script add process", 18, "% Incomplete command.\n% Expected: SOURCE\n"),
    ('show log "open', 9, "% A quote is opened at '^' and not closed.\n"),
    ("show version | nonsense", 15, "% Invalid input detected at '^' marker.\n% Expected: begin, "),
    ("show version |", 14, "% Incomplete command."),
    ("terminal length 99999999", 16, "% Invalid input detected at '^' marker.\n% Expected: <0-65535>\n"),
    ("show running-config appmgr nonsense", 27, "% Invalid input detected at '^' marker."),
]
WRONG_CONFIGURATION = [
    ("hostnam_ x", 0, "% Invalid input detected at '^' marker."),
    ("appmgr process-script x1 restart sometimes", 33, "% Invalid input detected at '^' marker: `sometimes` is no value"),
    ("appmgr process-script x1 restart", 32, "% Incomplete command."),
    ("appmgr process-script x1 restart on-failure max-retries 99", 56, "% Invalid input detected at '^' marker: "),
    ("no appmgr process-script x1 nonsense", 28, "% Invalid input detected at '^' marker."),
    ("co", 0, "% Ambiguous command: it may mean "),
]


def marked(line, column, said):
    return "{}\n{}^\n{}".format(line, " " * column, said)


def test_what_is_wrong_is_marked_at_its_column_and_changes_nothing(box):
    for line, column, said in WRONG:
        status, _, errors = local(box, "-c", line)
        assert status == 1 and errors.startswith(marked(line, column, said)), (line, errors)
    before = ssh(box, "show running-config")[1]
    for line, column, said in WRONG_CONFIGURATION:
        status, _, errors = local(box, typed="configure\n{}\ncommit\n".format(line))
        assert status == 1 and marked(line, column, said) in errors, (line, errors)
    assert ssh(box, "show running-config")[1] == before


def test_bytes_that_are_no_text_are_told_and_end_nothing(box):
    done = subprocess.run(
        [box.procyon, "shell", "--root", box.root], input=b"show \xff\xfe\xc3( version\n", capture_output=True, timeout=20
    )
    assert done.returncode == 1 and "% Invalid input" in done.stderr.decode()
    with Hands(box) as hands:
        os.write(hands.child.child_fd, b"\xff\xc3( \xe2\x82\x00 x\r")
        assert "% Invalid input" in hands.prompt()
        assert "Version" in hands.line("show version")


def test_a_line_without_an_end_is_not_carried_out_by_halves(box):
    status, _, errors = local(box, typed="show clock\nappmgr " + "x" * (1 << 20) + "\nshow clock\n")
    assert status == 1 and "a line is longer than" in errors
    status, _, errors = local(box, typed="configure\nload terminal\nhostname short\nhostname " + "x" * (1 << 20) + "\n\x04\ncommit\n")
    assert status == 1 and "a line is longer than" in errors
    assert "hostname short" not in ssh(box, "show running-config")[1]


def test_pages_follow_the_window(box):
    configure(box, *["appmgr process-script window{} executable w.py".format(number) for number in range(20)])

    with Hands(box, rows=12) as hands:

        def lines_of_a_page():
            hands.type("show running-config appmgr\r")
            shown = hands.see(" --More-- ")
            hands.type("q")
            hands.prompt()
            return shown.count("\n") - 1

        assert lines_of_a_page() == 11
        hands.child.setwinsize(6, 60)
        boxes.wait_for("pages of the new size", lambda: lines_of_a_page() == 5)


def test_somebody_else_s_commit_is_told_word_for_word_and_nobody_is_no(box):
    with subprocess.Popen(
        [box.procyon, "shell", "--root", box.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shell:
        shell.stdin.write("terminal exec prompt no-timestamp\nconfigure\nappmgr process-script mine2 executable m.py\ndo show clock\n")
        shell.stdin.flush()
        # What was typed before this line has reached the agent.
        assert re.match(r"\d\d:", shell.stdout.readline())
        configure(box, "appmgr process-script theirs2 executable t.py")
        out, errors = shell.communicate("commit\nshow version\n", timeout=20)
    assert out == OTHERS + "no\n" and shell.returncode == 1, (out, errors)
    shown = ssh(box, "show running-config appmgr | formal")[1]
    assert "theirs2" in shown and "mine2" not in shown
    with Hands(box) as hands:
        hands.line("configure", "(config)")
        hands.line("appmgr process-script mine3 executable m.py", "(config)")
        configure(box, "appmgr process-script theirs3 executable t.py")
        hands.type("commit\r")
        hands.see(re.escape(OTHERS.replace("\n", "\r\n")))
        # Enter is no; what was typed is there, and can be committed after all.
        hands.line("", "(config)")
        assert "mine3" in hands.line("show configuration", "(config)")
        hands.type("commit\r")
        hands.see(r"\[no\]: ")
        hands.line("yes", "(config)")
        hands.line("end")
    assert "mine3" in ssh(box, "show running-config appmgr | formal")[1]


def test_end_asks_and_nobody_is_cancel(box):
    status, out, errors = local(box, typed="configure\nhostname unasked\nend\nshow version\n")
    assert status == 1 and out == UNCOMMITTED + "cancel\n", (out, errors)
    assert "hostname unasked" not in ssh(box, "show running-config")[1]
    with Hands(box) as hands:
        for answer, mode in (("cancel", "(config)"), ("nonsense", "(config)"), ("yes", "")):
            if answer == "cancel":
                hands.line("configure", "(config)")
                hands.line("hostname asked", "(config)")
            hands.type("end\r")
            hands.see(re.escape(UNCOMMITTED))
            hands.line(answer, mode)
    assert "hostname asked" in ssh(box, "show running-config hostname")[1]


def test_an_app_that_is_not_committed_yet_is_told_as_such(box):
    status, _, errors = local(
        box, typed="configure\nappmgr process-script early1\nexecutable e.py\nappmgr process-script activate name early1\ncommit\n"
    )
    assert status == 1 and "`early1` is in the target configuration only: `commit` it first" in errors
    assert "early1" not in ssh(box, "show running-config appmgr")[1]


def test_each_command_is_in_the_log_with_who_and_whence(box):
    assert ssh(box, "show version | include no-such-text") == (0, "", "")
    assert local(box, "-c", "copy https://ann:hush@127.0.0.1:1/x harddisk:/x")[0] == 1

    def logged(*parts):
        return boxes.wait_for("line with " + parts[0], lambda: [line for line in list(box.said) if all(part in line for part in parts)])

    logged("show version | include no-such-text", "user={}".format(box.admin), "origin=127.0.0.1:", "session=")
    (line, *_) = logged("copy https://ann:", "user=root" if os.geteuid() == 0 else "user=", "session=")
    assert "hush" not in line
