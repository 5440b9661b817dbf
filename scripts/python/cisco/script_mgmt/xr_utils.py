"""Helpers for scripts that consist of several files.

    collector = secure_import(module_file_name="xr_data_collector.py")

imports another script of the same shelf. It runs only with the checksum that is configured for it; a script that is not
there, has no checksum or has changed raises ImportError, which says what to configure.
"""

import importlib
import re

__all__ = ["secure_import"]

# A file of the shelf whose name can be imported.
MODULE_FILE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.py\Z")


def secure_import(module_file_name):
    """The module in the file `module_file_name` of the repository, checked like the script itself."""
    name = str(module_file_name)
    if not MODULE_FILE.match(name):
        raise ImportError("{!r} is no module file of the script repository, such as 'helper.py'".format(name))
    return importlib.import_module(name[: -len(".py")])
