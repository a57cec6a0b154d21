"""Argument types of argparse for files and folders, and a parser for names that begin with a dash."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_FILE = re.compile(r"^-.*\.[a-z]\w{1,4}$", re.IGNORECASE)


class FileArgumentParser(argparse.ArgumentParser):
    """A parser whose errors explain how to pass a file whose name looks like an option, such as -dash.mp4."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        options = self._given[: self._given.index("--")] if "--" in self._given else self._given
        names = [name for name in options if name.startswith("-") and (os.path.exists(name) or _FILE.match(name))]
        if names:
            message += f"\na name that begins with - goes to the end, after --: {self.prog} ... -- {' '.join(names)}"
        super().error(message)


def existing_folder(text: str) -> str:
    """A folder to read. Raises ArgumentTypeError."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return text


def folder_to_write(text: str) -> Path:
    """A folder that exists or can be made. Raises ArgumentTypeError."""
    if os.path.lexists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a file; name a folder")
    _check_parent(text)
    return Path(text)


def file_to_write(text: str) -> Path:
    """A file that exists or can be made. Raises ArgumentTypeError."""
    if os.path.exists(text) and not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a folder or a device; name a file")
    _check_parent(text)
    return Path(text)


def _check_parent(text: str) -> None:
    """Check that the nearest existing folder above is writable."""
    parent = os.path.dirname(os.path.abspath(text))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise argparse.ArgumentTypeError(f"{text!r} is below {parent!r}, which is a file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be made: {parent!r} cannot be written")
