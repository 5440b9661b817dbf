"""What a script sees when the launcher runs it: the same as under a bare interpreter, and nothing of the launcher."""

import subprocess
import sys
import textwrap

import pytest

from launching import DEVICE, INTERPRETER, LAUNCHER, LIBRARY, run, sha256, start


def script(text):
    return textwrap.dedent(text).lstrip("\n")


def plain(tmp_path, text, *arguments):
    """The same script under a bare interpreter."""
    path = tmp_path / "plain.py"
    path.write_text(text)
    done = subprocess.run(
        [INTERPRETER, "-u", "-s", str(path), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return done, str(path)


def test_a_script_sees_its_device_path_and_its_arguments():
    outcome = run(
        script(
            """
            import sys
            print(__name__, __file__)
            print(sys.argv)
            print(sorted(name for name in globals() if not name.startswith("__")))
            import __main__
            print(__main__.__dict__ is globals())
            """
        ),
        "--host",
        "two words",
    )
    assert outcome.status == 0, outcome
    assert outcome.output.splitlines() == [
        "__main__ " + DEVICE + "probe.py",
        repr([DEVICE + "probe.py", "--host", "two words"]),
        "['sys']",
        "True",
    ]
    assert outcome.errors == ""


def test_the_repository_takes_the_first_place_of_the_path_and_the_library_follows(tmp_path):
    outcome = run("import sys; print(sys.path[:2]); import cisco, iosxr", repository=tmp_path)
    assert outcome.output.strip() == repr([str(tmp_path), LIBRARY]), outcome


def test_the_file_of_that_name_is_not_opened(tmp_path):
    (tmp_path / "probe.py").write_text("print('the file')")
    outcome = run("print('the sealed bytes')", repository=tmp_path)
    assert outcome.output == "the sealed bytes\n", outcome


def test_the_descriptors_of_the_launcher_do_not_leak_to_the_script():
    outcome = run(
        script(
            """
            import os
            print(sorted(int(name) for name in os.listdir("/proc/self/fd")))
            print(os.environ.get("PROCYON_CHECKSUMS_FD"))
            """
        ),
        checksums={},
    )
    descriptors, variable = outcome.output.splitlines()
    # The fourth is the one that lists the folder.
    assert descriptors == "[0, 1, 2, 3]", outcome
    assert variable == "None"


def test_a_traceback_is_that_of_a_bare_interpreter(tmp_path):
    text = script(
        """
        class TooHot(Exception):
            pass

        def inner(value):
            raise TooHot("at {}".format(value))

        def outer():
            try:
                inner(41)
            except TooHot as first:
                raise RuntimeError("outer") from first

        outer()
        """
    )
    outcome = run(text)
    done, path = plain(tmp_path, text)
    assert outcome.status == done.returncode == 1
    # Before Python 3.11 the interpreter wrote `__main__.TooHot` where its traceback module wrote `TooHot`.
    assert outcome.errors == done.stderr.replace(path, DEVICE + "probe.py").replace("__main__.", "")
    assert 'raise TooHot("at {}".format(value))' in outcome.errors
    assert "/proc/self/fd" not in outcome.errors


def test_the_lines_of_a_traceback_come_from_the_bytes_that_ran(tmp_path):
    (tmp_path / "probe.py").write_text("# another file by now\n" * 20)
    outcome = run("import threading\ndef work():\n    1 / 0\nwork()\n", repository=tmp_path)
    assert "    1 / 0\n" in outcome.errors, outcome
    assert "another file" not in outcome.errors


@pytest.mark.parametrize(
    "text",
    ["def broken(:\n    pass\n", "if True:\nprint('x')\n", "print('unterminated\n", "\tx = 1\n        y = 2\n", "x = $\n"],
)
def test_a_script_that_is_not_python_is_reported_as_ever(tmp_path, text):
    outcome = run(text)
    done, path = plain(tmp_path, text)
    assert outcome.status == done.returncode
    # Where Python reads the file itself, some versions place the caret otherwise.
    theirs = done.stderr.replace(path, DEVICE + "probe.py").splitlines()
    ours = outcome.errors.splitlines()
    assert (ours[:1], ours[-1:]) == (theirs[:1], theirs[-1:])
    assert len(ours) <= len(theirs) + 1, outcome


def test_bytes_that_are_no_text_at_all_are_refused_without_a_frame_of_the_launcher():
    outcome = run(b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe")
    assert outcome.status == 1
    assert "/proc/self/fd" not in outcome.errors, outcome
    assert "Error" in outcome.errors


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit()",
        "import sys; sys.exit(0)",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('a reason')",
        "raise SystemExit(None)",
        "import os; os._exit(9)",
        "import sys\ntry:\n    1 / 0\nfinally:\n    sys.exit(4)\n",
        "pass",
        "1 / 0",
        "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__, a[2].tb_frame.f_code.co_name)\n1 / 0",
        "import sys\ndef hook(*a):\n    sys.exit(5)\nsys.excepthook = hook\n1 / 0",
    ],
)
def test_the_exit_status_and_texts_are_those_of_a_bare_interpreter(tmp_path, text):
    outcome = run(text)
    done, path = plain(tmp_path, text)
    assert (outcome.status, outcome.output) == (done.returncode, done.stdout)
    assert outcome.errors == done.stderr.replace(path, DEVICE + "probe.py")


def test_an_interrupt_ends_the_script_as_ever(tmp_path):
    # Whoever runs the tests in the background may have it ignored.
    listen = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    text = "import os, signal; {}; os.kill(os.getpid(), signal.SIGINT); signal.pause()".format(listen)
    outcome = run(text)
    done, path = plain(tmp_path, text)
    # By the signal itself from Python 3.8 on.
    assert outcome.status == done.returncode, outcome
    assert outcome.errors.startswith("Traceback"), outcome
    assert outcome.errors.rstrip().endswith("KeyboardInterrupt")
    assert "/proc/self/fd" not in outcome.errors


def test_threads_are_waited_for_and_then_atexit_runs():
    outcome = run(
        script(
            """
            import atexit, threading
            go = threading.Event()
            def work():
                go.wait()
                print("thread")
            atexit.register(print, "atexit")
            threading.Thread(target=work).start()
            print("main")
            go.set()
            """
        )
    )
    assert outcome.output == "main\nthread\natexit\n", outcome


def test_an_exception_in_a_thread_shows_the_lines_that_ran():
    outcome = run(
        script(
            """
            import threading
            def work():
                raise ValueError("from the thread")
            thread = threading.Thread(target=work, name="worker")
            thread.start()
            thread.join()
            """
        )
    )
    assert outcome.status == 0
    assert "Exception in thread worker:" in outcome.errors, outcome
    assert 'raise ValueError("from the thread")' in outcome.errors
    assert "/proc/self/fd" not in outcome.errors


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works(method):
    outcome = run(
        script(
            """
            import multiprocessing, sys
            from concurrent.futures import ProcessPoolExecutor

            class Answer(object):
                def __init__(self, value):
                    self.value = value

            def square(value):
                return Answer(value * value)

            def fail():
                raise LookupError("in the child")

            if __name__ == "__main__":
                multiprocessing.set_start_method(sys.argv[1])
                with multiprocessing.Pool(2) as pool:
                    print([answer.value for answer in pool.map(square, range(5))])
                with ProcessPoolExecutor(2) as executor:
                    print(executor.submit(square, 9).result().value)
                child = multiprocessing.Process(target=fail)
                child.start()
                child.join()
                print(child.exitcode)
            """
        ),
        method,
    )
    assert outcome.status == 0, outcome
    assert outcome.output == "[0, 1, 4, 9, 16]\n81\n1\n", outcome
    assert 'raise LookupError("in the child")' in outcome.errors
    assert "/proc/self/fd" not in outcome.errors


def test_a_spawned_child_has_the_same_gate(tmp_path):
    helper = b"def name():\n    return 'helper'\n"
    (tmp_path / "helper.py").write_bytes(helper)
    (tmp_path / "planted.py").write_text("print('planted')")
    outcome = run(
        script(
            """
            import multiprocessing
            import helper

            def child(queue):
                try:
                    import planted
                except ImportError as error:
                    queue.put((helper.name(), str(error)))

            if __name__ == "__main__":
                context = multiprocessing.get_context("spawn")
                queue = context.Queue()
                process = context.Process(target=child, args=(queue,))
                process.start()
                print(*queue.get(timeout=30))
                process.join()
            """
        ),
        repository=tmp_path,
        checksums={"helper.py": sha256(helper)},
    )
    assert outcome.output.startswith("helper planted.py is in the script repository but has no checksum"), outcome


def test_a_class_of_the_script_can_be_pickled_and_its_source_read():
    outcome = run(
        script(
            """
            import inspect, pickle
            class Point(object):
                def __init__(self, x):
                    self.x = x
            print(pickle.loads(pickle.dumps(Point(7))).x)
            print(inspect.getsource(Point.__init__).strip())
            import linecache
            linecache.clearcache()
            linecache.checkcache()
            print(inspect.getsourcefile(Point.__init__))
            """
        )
    )
    assert outcome.output.splitlines() == [
        "7",
        "def __init__(self, x):",
        "        self.x = x",
        DEVICE + "probe.py",
    ], outcome


def test_a_neighbour_with_its_checksum_is_imported_and_leaves_no_byte_code(tmp_path):
    helper = b"'''A helper.'''\ndef greet():\n    return __file__\n"
    (tmp_path / "helper.py").write_bytes(helper)
    outcome = run(
        "import helper; print(helper.greet(), helper.__doc__); import helper as again",
        repository=tmp_path,
        checksums={"helper.py": sha256(helper).upper()},
    )
    assert outcome.output == DEVICE + "helper.py A helper.\n", outcome
    assert [entry.name for entry in tmp_path.iterdir()] == ["helper.py"]


def test_a_neighbour_without_a_checksum_is_refused_with_the_command_to_type(tmp_path):
    helper = b"print('ran')\n"
    (tmp_path / "helper.py").write_bytes(helper)
    outcome = run("import os\nimport helper\n", repository=tmp_path, checksums={})
    assert outcome.status == 1
    assert outcome.errors.splitlines() == [
        "Traceback (most recent call last):",
        '  File "{}probe.py", line 2, in <module>'.format(DEVICE),
        "    import helper",
        "ImportError: helper.py is in the script repository but has no checksum, configure: "
        "script process helper.py checksum SHA256 " + sha256(helper),
    ], outcome


def test_a_changed_neighbour_is_refused_with_both_checksums(tmp_path):
    (tmp_path / "helper.py").write_bytes(b"print('changed')\n")
    outcome = run("import helper", repository=tmp_path, checksums={"helper.py": "0" * 64})
    assert outcome.status == 1
    assert "has the checksum {}, configured is {}".format(sha256(b"print('changed')\n"), "0" * 64) in outcome.errors
    assert "changed\n" not in outcome.output
    assert "/proc/self/fd" not in outcome.errors


def test_a_planted_byte_code_file_or_package_is_never_used(tmp_path):
    import py_compile

    evil = tmp_path / "evil.py"
    evil.write_text("print('planted')")
    py_compile.compile(str(evil), cfile=str(tmp_path / "helper.pyc"))
    (tmp_path / "__pycache__").mkdir()
    py_compile.compile(
        str(evil), cfile=str(tmp_path / "__pycache__" / "good.{}.pyc".format(sys.implementation.cache_tag)), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    good = b"print('good')\n"
    (tmp_path / "good.py").write_bytes(good)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("print('planted')")
    outcome = run(
        script(
            """
            import sys
            import good
            for name in ("helper", "package", "package.inner"):
                try:
                    __import__(name)
                except ImportError as error:
                    print(type(error).__name__, error)
            sys.path.insert(1, sys.path[0] + "/package")
            sys.path.insert(1, sys.path[0] + "/../" + sys.path[0].rsplit("/", 1)[1])
            try:
                import evil
            except ImportError as error:
                print("evil refused")
            """
        ),
        repository=tmp_path,
        checksums={"good.py": sha256(good)},
    )
    assert outcome.output.splitlines() == [
        "good",
        "ModuleNotFoundError No module named 'helper'",
        "ModuleNotFoundError No module named 'package'",
        "ModuleNotFoundError No module named 'package'",
        "evil refused",
    ], outcome


def test_a_planted_module_cannot_stand_before_the_standard_library(tmp_path):
    (tmp_path / "json.py").write_text("print('planted')")
    (tmp_path / "cisco.py").write_text("print('planted')")
    outcome = run("import json, cisco; print(json.dumps([1]))", repository=tmp_path, checksums={})
    assert outcome.output == "[1]\n", outcome


def test_an_error_inside_a_neighbour_shows_its_lines(tmp_path):
    helper = b"def divide():\n    return 1 // 0\n"
    (tmp_path / "helper.py").write_bytes(helper)
    outcome = run("import helper\nhelper.divide()\n", repository=tmp_path, checksums={"helper.py": sha256(helper)})
    assert '  File "{}helper.py", line 2, in divide\n    return 1 // 0\n'.format(DEVICE) in outcome.errors, outcome


def test_a_neighbour_that_is_not_python_is_refused_without_a_frame_of_ours(tmp_path):
    helper = b"def (:\n"
    (tmp_path / "helper.py").write_bytes(helper)
    outcome = run("import helper\n", repository=tmp_path, checksums={"helper.py": sha256(helper)})
    assert "SyntaxError" in outcome.errors
    assert "/proc/self/fd" not in outcome.errors and "importlib" not in outcome.errors, outcome


def test_a_descriptor_that_is_not_open_is_a_clear_error():
    done = subprocess.run(
        [INTERPRETER, "-u", "-s", LAUNCHER, "77", DEVICE + "x.py"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("procyon: descriptor 77 cannot be read"), done.stderr


def test_the_launcher_loads_little_that_python_has_not_loaded_anyway():
    """Startup is paid at every start: count modules, which does not depend on how busy the machine is."""
    names = "import sys; print(sorted(sys.modules))"
    bare = subprocess.run([INTERPRETER, "-u", "-s", "-c", names], capture_output=True, text=True).stdout
    outcome = run(names, checksums={"helper.py": "0" * 64})
    extra = set(eval(outcome.output)) - set(eval(bare))
    assert extra == set(), extra


def test_output_is_there_at_once():
    process = start("import sys\nprint('first')\nsys.stdin.read()\nimport signal\nsignal.pause()\n")
    try:
        assert process.stdout.readline() == b"first\n"
    finally:
        process.kill()
        process.communicate()


def test_output_of_a_spawned_child_is_there_at_once():
    process = start(
        script(
            """
            import multiprocessing, signal
            def child():
                print("from the child")
                signal.pause()
            if __name__ == "__main__":
                process = multiprocessing.get_context("spawn").Process(target=child, daemon=True)
                process.start()
                signal.signal(signal.SIGTERM, lambda *_: exit(0))
                process.join()
            """
        )
    )
    try:
        assert process.stdout.readline() == b"from the child\n"
    finally:
        process.terminate()
        process.communicate()


def test_a_warning_shows_the_line_that_ran(tmp_path):
    (tmp_path / "probe.py").write_text("# another file by now\n" * 9)
    outcome = run("import warnings\nwarnings.warn('take care')\n", repository=tmp_path)
    assert outcome.errors.splitlines() == [
        DEVICE + "probe.py:2: UserWarning: take care",
        "  warnings.warn('take care')",
    ], outcome


def test_a_package_of_the_interpreter_is_imported_as_ever():
    pytest.importorskip("xmltodict")
    outcome = run("import xmltodict; print(xmltodict.parse('<a>1</a>')['a'])", checksums={})
    assert outcome.output == "1\n", outcome


def test_checksums_that_are_not_json_let_nothing_in(tmp_path):
    (tmp_path / "helper.py").write_bytes(b"print('ran')\n")
    from launching import sealed

    descriptor = sealed(b'{"helper.py": ')
    outcome = run(
        "import helper",
        repository=tmp_path,
        environment={"PROCYON_CHECKSUMS_FD": str(descriptor)},
        pass_fds=[descriptor],
    )
    assert outcome.status == 1 and "has no checksum" in outcome.errors, outcome
    assert outcome.output == ""


def test_a_neighbour_that_cannot_be_read_is_no_module(tmp_path):
    (tmp_path / "helper.py").mkdir()
    outcome = run("import helper", repository=tmp_path, checksums={"helper.py": "0" * 64})
    assert outcome.errors.rstrip().endswith("ModuleNotFoundError: No module named 'helper'"), outcome


def test_an_exception_that_cannot_be_raised_shows_the_lines_that_ran(tmp_path):
    text = "class Held(object):\n    def __del__(self):\n        raise ValueError('too late')\nheld = Held()\ndel held\n"
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "probe.py").write_text("# another file by now\n" * 9)
    outcome = run(text, repository=tmp_path / "repository")
    done, path = plain(tmp_path, text)
    at = outcome.errors.index("Traceback")
    assert outcome.errors[at:] == done.stderr[done.stderr.index("Traceback"):].replace(path, DEVICE + "probe.py"), outcome
    assert outcome.errors.startswith("Exception ignored in: <function Held.__del__ at ")
