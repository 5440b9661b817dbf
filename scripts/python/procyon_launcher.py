"""Runs one script from bytes that have already been verified.

    python3 -u -s procyon_launcher.py SCRIPT_FD DEVICE_PATH [ARGUMENT ...]

This file may itself be given as /proc/self/fd/N. SCRIPT_FD is a descriptor of the sealed copy of the script whose
checksum was compared; DEVICE_PATH is the name that the script has on the device. The file of that name is never opened:
between comparing it and opening it again it could have changed. The script sees what it would see if Python had been
given DEVICE_PATH: ``__file__``, ``sys.argv``, a ``__main__`` of its own, tracebacks with source lines, multiprocessing
by fork, spawn and forkserver.

Environment:
    PROCYON_REPOSITORY     the folder that holds the script and its neighbours; takes the place of ``sys.path[0]``
    PROCYON_CHECKSUMS_FD   a descriptor of a JSON object {"neighbour.py": "sha256 in hex"}
    PROCYON_LIBRARY        the folder of the on-box packages; put on ``sys.path``
    PROCYON_DOOR_FD        handed on to spawned children
    PROCYON_JUDGE          config or precommit: the script looks at commits and stays for the next one

A neighbour is imported only if its bytes have the checksum that is configured for it; those bytes are what is
compiled. Byte code files are neither read nor written. This file must not import anything that Python has not loaded
anyway before it runs a script: it is paid for at every start.
"""

import os
import sys

from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import PathFinder, SourceFileLoader
from _thread import get_ident

# A script or module larger than this is not a script; the keeper has a limit of its own.
SOURCE_BYTES_MAX = 16 * 1024 * 1024

# A list of checksums larger than this names more scripts than a repository holds.
CHECKSUMS_BYTES_MAX = 4 * 1024 * 1024

# CPython leaves frames of this file out of the traceback of an ImportError.
IMPORT_MACHINERY = "<frozen importlib._bootstrap>"


class Run(object):
    """What a process must know to be this run of the script; travels to spawned children."""

    def __init__(self, path, source, repository, checksums, door):
        self.path = path
        self.source = source
        self.repository = repository
        self.checksums = checksums
        self.door = door

    def luggage(self):
        return (self.path, self.source, self.repository, self.checksums, self.door)


class SourceInMemory(SourceFileLoader):
    """Loads a module from bytes at hand; the path is only its name."""

    def __init__(self, name, path, source):
        SourceFileLoader.__init__(self, name, path)
        self.source = source
        remember_lines(path, source)

    def get_data(self, path):
        if path != self.path:
            raise OSError("only the checksummed source of {} is at hand, not {}".format(self.path, path))
        return self.source

    def path_stats(self, path):
        # The import system takes this for "there is no byte code file to look at".
        raise OSError("{} was not read from a file".format(path))

    def set_data(self, path, data, **options):
        pass


class Repository(object):
    """The finder for the repository folder on sys.path: modules with a checksum, and no others."""

    def __init__(self, run):
        self.run = run
        self.sums = None
        # The thread that loads json or hashlib for us just now; those never come from the repository.
        self.busy = None

    def hook(self, path):
        """For sys.path_hooks."""
        if not self.run.repository or not within(path, self.run.repository):
            raise ImportError("not the script repository")
        return self

    def invalidate_caches(self):
        pass

    def lookup(self, fullname):
        """The spec of a neighbour, or None, or the text of a refusal."""
        name = fullname + ".py"
        # Most imports end here, before json has to be loaded.
        if "." in fullname or self.busy == get_ident() or json_key(name) not in self.run.checksums:
            return None
        wanted = self.configured().get(name)
        if wanted is None:
            return None
        source = self.read(name)
        if source is None:
            return None
        found = self.sha256(source)
        if found != str(wanted).lower():
            return (
                "{} in the script repository has the checksum {}, configured is {}: restore the file, or, if the new one "
                "is meant, configure: script {} {} checksum SHA256 {}"
            ).format(name, found, wanted, self.shelf(), name, found)
        path = os.path.join(os.path.dirname(self.run.path), name)
        loader = SourceInMemory(fullname, path, source)
        spec = ModuleSpec(fullname, loader, origin=path)
        spec.has_location = True
        return spec

    def objection(self, fullname):
        """Why a module that nobody else could provide is not taken from the repository, if it lies there."""
        name = fullname + ".py"
        if "." in fullname or not self.run.repository:
            return None
        try:
            source = self.read(name)
        except ImportError as error:
            return str(error)
        if source is None:
            return None
        return (
            "{} is in the script repository but has no checksum, configure: script {} {} checksum SHA256 {}"
        ).format(name, self.shelf(), name, self.sha256(source))

    def shelf(self):
        """The type of scripts that the folder holds, as the configuration calls it."""
        return os.path.basename(os.path.dirname(self.run.path)) or "process"

    def configured(self):
        if self.sums is None:
            sums = json_loads(self.borrow("json"), self.run.checksums)
            self.sums = sums if isinstance(sums, dict) else {}
        return self.sums

    def sha256(self, data):
        return self.borrow("hashlib").sha256(data).hexdigest()

    def borrow(self, name):
        before = self.busy
        self.busy = get_ident()
        try:
            return __import__(name)
        finally:
            self.busy = before

    def read(self, name):
        try:
            handle = open(os.path.join(self.run.repository, name), "rb")
        except OSError:
            return None
        with handle:
            source = handle.read(SOURCE_BYTES_MAX + 1)
        if len(source) > SOURCE_BYTES_MAX:
            raise ImportError("{} is larger than {} bytes".format(name, SOURCE_BYTES_MAX))
        return source


# Compiled under the name of the import system, so that a refused import shows the importing line and nothing of ours.
FINDERS = """
class NeighbourFinder(object):
    def __init__(self, repository):
        self.repository = repository

    def find_spec(self, fullname, target=None):
        found = self.repository.lookup(fullname)
        if isinstance(found, str):
            raise ImportError(found, name=fullname)
        return found

    def invalidate_caches(self):
        pass


class LastWord(object):
    def __init__(self, repository):
        self.repository = repository

    def find_spec(self, fullname, path=None, target=None):
        objection = self.repository.objection(fullname) if path is None else None
        if objection is not None:
            raise ImportError(objection, name=fullname)
        return None
"""


class Afterthought(object):
    """A finder that lets a module of the standard library load as ever and then calls a function with it."""

    def __init__(self, thoughts):
        self.thoughts = thoughts

    def find_spec(self, fullname, path=None, target=None):
        thought = self.thoughts.get(fullname)
        if thought is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = Afterwards(spec.loader, thought)
        return spec


class Afterwards(object):
    def __init__(self, loader, thought):
        self.loader = loader
        self.thought = thought

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = self.loader
        module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.thought(module)


# Sources by path, for tracebacks and inspect; linecache is told when somebody loads it.
LINES = {}


def main():
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        sys.exit("usage: procyon_launcher.py SCRIPT_FD DEVICE_PATH [ARGUMENT ...]")
    path = sys.argv[2]
    source = read_descriptor(int(sys.argv[1]), SOURCE_BYTES_MAX)
    checksums = b""
    descriptor = os.environ.pop("PROCYON_CHECKSUMS_FD", "")
    if descriptor.isdigit():
        checksums = read_descriptor(int(descriptor), CHECKSUMS_BYTES_MAX)
    door = os.environ.get("PROCYON_DOOR_FD", "")
    run = Run(path, source, os.environ.get("PROCYON_REPOSITORY", ""), checksums, int(door) if door.isdigit() else None)

    # Where this file itself was given as a descriptor, the script has no use for it.
    folder, _, own = sys.argv[0].rpartition("/")
    if folder in ("/proc/self/fd", "/dev/fd") and own.isdigit():
        os.close(int(own))

    sys.argv[:] = sys.argv[2:]
    # Python has put the folder of this file there, unless it was told not to.
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]
    library = os.environ.get("PROCYON_LIBRARY", "")
    sys.path[0:0] = [folder for folder in (run.repository or os.path.dirname(path), library) if folder]
    settle(run)
    return run


def settle(run):
    """Makes this process one that runs `run`."""
    sys.dont_write_bytecode = True
    repository = Repository(run)
    scope = {"__name__": __name__}
    exec(compile(FINDERS, IMPORT_MACHINERY, "exec"), scope)
    neighbours = scope["NeighbourFinder"](repository)

    def hook(path):
        repository.hook(path)
        return neighbours

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
    thoughts = {
        "linecache": prime_linecache,
        "threading": dress_threading,
        "multiprocessing.spawn": lambda spawn: dress_spawn(spawn, run),
    }
    sys.meta_path.insert(0, Afterthought(thoughts))
    sys.meta_path.append(scope["LastWord"](repository))
    for name, thought in thoughts.items():
        if name in sys.modules:
            thought(sys.modules[name])
    sys.excepthook = show
    if hasattr(sys, "unraisablehook"):
        sys.unraisablehook = show_unraisable


def new_main(run, name):
    """A fresh main module called `name`, not yet executed."""
    module = type(sys)(name)
    module.__file__ = run.path
    module.__cached__ = None
    module.__package__ = None if name == "__main__" else ""
    module.__spec__ = None
    module.__loader__ = SourceInMemory(name, run.path, run.source)
    module.__builtins__ = __builtins__
    return module


def compiled(run):
    return compile(run.source, run.path, "exec", 0, True)


def read_descriptor(descriptor, limit):
    """All bytes behind a descriptor, from its beginning, whoever else has read it; closes it."""
    pieces = []
    offset = 0
    try:
        while offset <= limit:
            piece = os.pread(descriptor, min(1024 * 1024, limit + 1 - offset), offset)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            offset += len(piece)
    except OSError as error:
        sys.exit("procyon: descriptor {} cannot be read: {}".format(descriptor, error))
    finally:
        try:
            os.close(descriptor)
        except OSError:
            pass
    sys.exit("procyon: descriptor {} holds more than {} bytes".format(descriptor, limit))


def within(path, folder):
    try:
        path = os.path.realpath(path)
        folder = os.path.realpath(folder)
    except (OSError, ValueError, TypeError):
        return False
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def json_key(name):
    return '"{}"'.format(name).encode("utf-8")


def json_loads(json, data):
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError:
        return None


# Tracebacks


def show(kind, error, trace):
    """sys.excepthook: as Python does it, with the lines that were compiled and without frames of this file."""
    if sys.stderr is None:
        return
    import traceback

    error = clean(error if error is not None else kind())
    traceback.print_exception(kind, error, without_ours(trace))
    sys.stderr.flush()


def show_unraisable(args):
    """sys.unraisablehook (Python 3.8), whose source lines, too, would come from the disk."""
    if sys.stderr is None:
        return
    try:
        import traceback

        trace = without_ours(args.exc_traceback)
        lines = traceback.format_exception(args.exc_type, args.exc_value, trace)
        message = args.err_msg or "Exception ignored in"
        sys.stderr.write("{}: {!r}\n{}".format(message, args.object, "".join(lines)))
        sys.stderr.flush()
    except Exception:
        # An interpreter that is being taken down, or an object that cannot be shown.
        sys.__unraisablehook__(args)


def clean(error):
    """Takes our frames out of the traceback of `error` and of every exception that it came from."""
    seen = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = without_ours(each.__traceback__)
        waiting.append(each.__cause__)
        waiting.append(each.__context__)
    return error


def without_ours(trace):
    while trace is not None and is_ours(trace):
        trace = trace.tb_next
    at = trace
    while at is not None and at.tb_next is not None:
        if is_ours(at.tb_next):
            try:
                at.tb_next = at.tb_next.tb_next
                continue
            except (AttributeError, TypeError):
                # Before Python 3.7 a traceback cannot be changed.
                pass
        at = at.tb_next
    return trace


def is_ours(trace):
    return trace.tb_frame.f_code.co_filename == OURS


def report(error):
    """What Python does with an exception that nobody caught, before it shuts down. SystemExit never comes here."""
    clean(error)
    kind, trace = type(error), error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    sys.last_exc = error
    hook = getattr(sys, "excepthook", None) or show
    try:
        hook(kind, error, trace)
    except SystemExit:
        raise
    except BaseException as trouble:
        sys.stderr.write("Error in sys.excepthook:\n")
        show(type(trouble), trouble, trouble.__traceback__)
        sys.stderr.write("\nOriginal exception was:\n")
        show(kind, error, trace)


def silent(kind, error, trace):
    pass


def remember_lines(path, source):
    LINES[path] = source
    linecache = sys.modules.get("linecache")
    if linecache is not None:
        prime_linecache(linecache)


def prime_linecache(linecache):
    from _frozen_importlib_external import decode_source

    for path, source in LINES.items():
        try:
            text = decode_source(source)
        except (SyntaxError, UnicodeDecodeError, LookupError):
            # Python will say so when it compiles it.
            continue
        # Without a time of last change linecache never looks at the file.
        lines = [line + "\n" for line in text.split("\n")]
        linecache.cache[path] = (len(source), None, lines, path)


def dress_threading(threading):
    """The thread's own excepthook (Python 3.8) takes source lines from the disk; ours does not."""
    if not hasattr(threading, "excepthook"):
        return
    theirs = threading.excepthook

    def excepthook(args):
        if args.exc_type is SystemExit or sys.stderr is None:
            return theirs(args)
        name = args.thread.name if args.thread is not None else threading.get_ident()
        sys.stderr.write("Exception in thread {}:\n".format(name))
        return show(args.exc_type, args.exc_value, args.exc_traceback)

    threading.excepthook = excepthook
    if hasattr(threading, "__excepthook__"):
        threading.__excepthook__ = excepthook


# Children by spawn and forkserver


class Passenger(object):
    """Rides in the data that multiprocessing hands to a new interpreter and makes it one of this run."""

    def __init__(self, run):
        self.run = run

    def __reduce__(self):
        import marshal

        arrival = "import marshal; exec(marshal.loads(code), scope); scope['arrive'](luggage)"
        scope = {"__name__": "procyon_launcher"}
        return exec, (arrival, {"code": marshal.dumps(OUR_CODE), "scope": scope, "luggage": self.run.luggage()})


def arrive(luggage):
    settle(Run(*luggage))
    # The parent runs unbuffered, which multiprocessing does not hand on: at least no line is held back.
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
        elif stream is not None:
            setattr(sys, name, open(stream.fileno(), "w", 1, stream.encoding, stream.errors, closefd=False))


def dress_spawn(spawn, run):
    """A new interpreter would open the script by its path; instead it gets the bytes, and the door with them."""
    from multiprocessing import util

    prepare = spawn.get_preparation_data
    fix = spawn._fixup_main_from_path
    start = util.spawnv_passfds

    def get_preparation_data(name):
        data = prepare(name)
        data["procyon"] = Passenger(run)
        return data

    def fixup_main_from_path(path):
        if path != os.path.normpath(run.path):
            return fix(path)
        if getattr(sys.modules["__main__"], "__file__", None) == run.path:
            return None
        spawn.old_main_modules.append(sys.modules["__main__"])
        module = new_main(run, "__mp_main__")
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module
        exec(compiled(run), module.__dict__)
        return None

    def spawnv_passfds(path, args, passfds):
        passfds = list(passfds)
        if run.door is not None and run.door not in passfds and is_open(run.door):
            passfds.append(run.door)
        return start(path, args, passfds)

    spawn.get_preparation_data = get_preparation_data
    spawn._fixup_main_from_path = fixup_main_from_path
    util.spawnv_passfds = spawnv_passfds


def is_open(descriptor):
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False


def perform(run):
    """Executes the script; one that looks at commits then stays for them."""
    judge = os.environ.pop("PROCYON_JUDGE", "")
    if judge == "precommit":
        import procyon_judge

        # Each commit by a fresh copy of this process: what one leaves behind the next does not find.
        return procyon_judge.serve_each(lambda: exec(compiled(run), new_scope(run)), report)
    exec(compiled(run), sys.modules["__main__"].__dict__)
    if judge == "config":
        import procyon_judge

        procyon_judge.serve(report)


def new_scope(run):
    module = sys.modules["__main__"] = new_main(run, "__main__")
    return module.__dict__


OUR_CODE = sys._getframe().f_code
OURS = OUR_CODE.co_filename

if __name__ == "__main__":
    # Kept: this module's names must outlive its place in sys.modules.
    launcher = sys.modules["__main__"]
    run = main()
    sys.modules["__main__"] = new_main(run, "__main__")
    try:
        perform(run)
    except SystemExit:
        raise
    except KeyboardInterrupt as error:
        report(error)
        # Python itself must see it: it then ends by the signal, after threads and atexit.
        sys.excepthook = silent
        raise
    except BaseException as error:
        report(error)
        error = None
        sys.excepthook = silent
        sys.exit(1)
