"""``python -m ganfast.compat PROJECT ...``: a project's own command line, patched."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from ganfast._terminal import printable
from ganfast.compat.patching import named, patch
from ganfast.compat.projects import PROJECTS
from ganfast.errors import InputError, one_line

_COMMANDS = [project.name for project in PROJECTS.values() if project.command]
_OTHERS = [name for name in PROJECTS if name not in _COMMANDS]
USAGE = f"""\
usage: python -m ganfast.compat PROJECT ARGS...
       python -m ganfast.compat PROJECT SCRIPT.py ARGS...

Runs a project's own command line, with its own arguments, after ganfast.compat.patch(PROJECT):
    {", ".join(_COMMANDS)}
The others have none: give a script that uses them. For scipy that is any script that calls
scipy.linalg.sqrtm(..., disp=False).
    {", ".join(_OTHERS)}
Processes that the program forks are patched too; those that it spawns are not.

    python -m ganfast.compat pytorch_fid A B
    python -m ganfast.compat scipy fid.py --images A
"""


def main(argv: Sequence[str]) -> int:
    """Patch the project named first and run it on the rest; returns the exit code of a failure."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    script = None
    try:
        (project,) = named((argv[0],))
        if not project.command:
            script = _script(project.name, argv[1:])
        records = patch(project.name)
    except (InputError, ImportError, RuntimeError) as error:
        _say(f"error: {one_line(error)}")
        return 2 if isinstance(error, InputError) else 1
    for record in records:
        _say(f"{record.project} {record.version}: {record.function} is ganfast's")
    if script is None:
        sys.argv = list(argv)
        runpy.run_module(project.command, run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(argv[1:])
        sys.path[0] = os.path.dirname(os.path.abspath(script))  # as Python has it for a script
        runpy.run_path(script, run_name="__main__")
    return 0


def _script(name: str, arguments: Sequence[str]) -> str:
    if not arguments:
        raise InputError(f"SCRIPT: {name} has no command line; give a Python file that uses it")
    if not os.path.isfile(arguments[0]):
        raise InputError(
            f"SCRIPT: got {arguments[0]!r}, which is no file; {name} has no command line, so give "
            "a Python file that uses it"
        )
    return arguments[0]


def _say(sentence: str) -> None:
    line = printable(f"ganfast.compat: {sentence}", sys.stderr, lines=False)
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
