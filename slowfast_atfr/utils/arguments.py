"""Types of command line arguments that name files and folders, for argparse: wrong ones are reported first."""

import argparse
import os
from pathlib import Path


def existing_file(text: str) -> Path:
    """A file to read. Raises ArgumentTypeError."""
    if not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def existing_folder(text: str) -> str:
    """A folder to read. Raises ArgumentTypeError."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return text


def folder_to_write(text: str) -> Path:
    """A folder that is there or can be made. Raises ArgumentTypeError."""
    if os.path.lexists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a file; name a folder")
    _check_parent(text)
    return Path(text)


def file_to_write(text: str) -> Path:
    """A file that is there or can be made. Raises ArgumentTypeError."""
    if os.path.exists(text) and not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a folder or a device; name a file")
    _check_parent(text)
    return Path(text)


def _check_parent(text: str) -> None:
    """Whether the nearest folder above that exists may be written."""
    parent = os.path.dirname(os.path.abspath(text))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise argparse.ArgumentTypeError(f"{text!r} is below {parent!r}, which is a file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be made: {parent!r} cannot be written")
