"""Looks at a script without running it: what would go wrong on the device, each with its line.

Must not know: the device. Only what is wrong for certain, or asks for trouble, is said.
"""

import ast
import importlib.util
import os
import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.py\Z")
OURS = ("cisco", "iosxr")
LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def lint(path):
    """Sentences, the first lines first; none when there is nothing to say."""
    name = os.path.basename(path)
    found = []
    if not NAME.match(name) or ".." in name:
        found.append((0, "the name `{}` is not taken by the repository: letters, digits, `_`, `.`, `-`, and `.py`".format(name)))
    with open(path, "rb") as handle:
        source = handle.read()
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 0
        return told(path, found + [(line, "this is no Python: {}".format(getattr(error, "msg", error)))])
    found += docstring(tree)
    found += imports(tree, os.path.dirname(os.path.abspath(path)))
    found += names(tree)
    found += sessions(tree)
    return told(path, sorted(found))


def told(path, found):
    return ["{}:{}: {}".format(path, line, text) if line else "{}: {}".format(path, text) for line, text in found]


def docstring(tree):
    if ast.get_docstring(tree):
        return []
    return [(1, "without a docstring `show script status detail` has nothing to tell of it")]


def imports(tree, folder):
    found = []
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module]
            if node.module.split(".")[0] in OURS:
                modules += [
                    "{}.{}".format(node.module, alias.name)
                    for alias in node.names
                    if is_there("{}.{}".format(node.module, alias.name))
                ]
        for module in modules:
            top = module.split(".")[0]
            if top in OURS:
                if not is_there(module):
                    found.append((node.lineno, "the device's library has no `{}`".format(module)))
            elif os.path.exists(os.path.join(folder, top + ".py")):
                text = "`{}.py` must be in the repository too, with a checksum of its own".format(top)
                found.append((node.lineno, text))
            elif not is_known(top):
                text = "`{}` is not in the standard library: the device must have it installed".format(top)
                found.append((node.lineno, text))
    return found


def is_there(module):
    path = os.path.join(LIBRARY, *module.split("."))
    return os.path.isdir(path) or os.path.isfile(path + ".py")


def is_known(top):
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    origin = getattr(found, "origin", None) or ""
    return found is not None and "site-packages" not in origin and "dist-packages" not in origin


def names(tree):
    """Names that are used and come from nowhere, where that can be told for certain."""
    known = set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
    known |= {"__file__", "__name__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__", "__class__"}
    used = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return []
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used.append(node)
            else:
                known.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, getattr(ast, "AsyncFunctionDef", ast.FunctionDef))):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            known |= set(node.names)
    return [(node.lineno, "`{}` is not defined anywhere".format(node.id)) for node in used if node.id not in known]


def sessions(tree):
    """A client that is made and never connected, or connected and never closed."""
    made = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "NetconfClient"
    ]
    if not made:
        return []
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    if any(isinstance(node, ast.With) for node in ast.walk(tree)):
        return []
    found = []
    if "connect" not in called:
        found.append((made[0], "a NetconfClient does nothing before connect()"))
    elif "close" not in called:
        found.append((made[0], "the NetconfClient is never closed: its session, with its locks, stays until the script ends"))
    return found
