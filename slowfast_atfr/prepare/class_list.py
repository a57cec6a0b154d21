"""Read the user's list of classes, or of YouTube ids, to keep."""

import difflib
from collections.abc import Collection

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.kinetics import read_lines


def read_class_list(path: str, known: Collection[str]) -> tuple[str, ...]:
    """Read class names, one on each line, in the order of their labels.

    Raises:
        ConfigError: naming file and line, for a name that is not `known` or is given twice.
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
            raise ConfigError(f"{path}, line {number}: {name!r} is already in line {classes.index(name) + 1}")
        classes.append(name)
    if not classes:
        raise ConfigError(f"{path} names no class")
    return tuple(classes)


def read_ids(path: str) -> frozenset[str]:
    """Read YouTube ids, one on each line. Raises ConfigError naming file and line."""
    ids = set()
    for number, line in enumerate(read_lines(path), start=1):
        if line and len(line) != 11:
            raise ConfigError(f"{path}, line {number}: {line!r} is no YouTube id, which has 11 characters")
        ids.add(line)
    if not ids - {""}:
        raise ConfigError(f"{path} lists no id")
    return frozenset(ids - {""})
