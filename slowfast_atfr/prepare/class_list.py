"""A part of a data set's classes, as a file of the user names them."""

import difflib
from collections.abc import Collection

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.kinetics import read_lines


def read_class_list(path: str, known: Collection[str]) -> tuple[str, ...]:
    """The classes of a file with one name on each line; their order is that of the labels.

    Raises:
        ConfigError: naming file and line, for a name that is not `known` or comes twice.
    """
    classes: list[str] = []
    for number, name in enumerate(read_lines(path), start=1):
        if not name:
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{path}, line {number}: {name!r} is no class of the annotations{hint}")
        if name in classes:
            raise ConfigError(f"{path}, line {number}: {name!r} stands in line {classes.index(name) + 1} already")
        classes.append(name)
    if not classes:
        raise ConfigError(f"{path} names no class")
    return tuple(classes)


def read_ids(path: str) -> frozenset[str]:
    """YouTube ids, one on each line. Raises ConfigError naming file and line."""
    ids = set()
    for number, line in enumerate(read_lines(path), start=1):
        if line and len(line) != 11:
            raise ConfigError(f"{path}, line {number}: {line!r} is no YouTube id, which has 11 characters")
        ids.add(line)
    if not ids - {""}:
        raise ConfigError(f"{path} lists no id")
    return frozenset(ids - {""})
