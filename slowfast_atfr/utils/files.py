"""Files and folders that are there whole or not at all, however a program ends."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

_PART = re.compile(r"\.[0-9a-f]{32}\.part")


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """A name beside `path` for a file or folder, which becomes `path` when the block ends well and goes when it fails.

    A program that is killed inside leaves it behind: `remove_parts` finds it.
    Raises:
        OSError: if it cannot be written, or a folder is to replace one that is not empty.
    """
    part = os.path.join(os.path.dirname(os.fspath(path)), f".{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        _remove(part)
        if isinstance(error, OSError) and error.filename in (None, part):  # a full disk names nothing
            error.filename = os.fspath(path)
        raise


def write_whole(path: str | os.PathLike, data: bytes | memoryview | str) -> None:
    """Write a file, text as UTF-8 (names of files as they are), on the disk when it returns. Folders are made.

    Raises:
        OSError: if it cannot be written.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(path) as part, open(part, "wb") as file:
        file.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())


def remove_parts(folder: str | os.PathLike) -> int:
    """Remove what killed programs have left half-written anywhere below a folder; how many there were."""
    found = [
        os.path.join(where, name)
        for where, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if _PART.fullmatch(name)
    ]
    for path in found:
        _remove(path)
    return len(found)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.remove(path)
