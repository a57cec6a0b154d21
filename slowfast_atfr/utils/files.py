"""Files and folders that are complete or absent, even if a program is killed."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

_PART = re.compile(r"\.[0-9a-f]{32}\.part")


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Yield a temporary name next to `path`; after the block it is renamed to `path`, after an error removed.

    A killed program leaves it on disk: `remove_parts` removes it.
    Raises:
        OSError: if it cannot be written, or `path` is a folder that is not empty.
    """
    part = os.path.join(os.path.dirname(os.fspath(path)), f".{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        _remove(part)
        if isinstance(error, OSError) and error.filename in (None, part):  # a full disk sets no name
            error.filename = os.fspath(path)
        raise


def write_whole(path: str | os.PathLike, data: bytes | memoryview | str) -> None:
    """Write a file and flush it to disk; text as UTF-8, file names with surrogates as they are. Folders are made.

    Raises:
        OSError: if it cannot be written.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(path) as part, open(part, "wb") as file:
        file.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())


def remove_parts(folder: str | os.PathLike) -> int:
    """Remove the partial files of killed programs below a folder; return their number."""
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
