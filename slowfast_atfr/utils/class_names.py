"""Names of classes by label."""

import json
from pathlib import Path

from slowfast_atfr.utils.errors import RunError


def read_class_names(path: Path | None, num_classes: int) -> list[str]:
    """Return the names of the classes 0 to num_classes - 1.

    Args:
        path: a text file with a line for each class, in order; or JSON: a list of names, {name: number}, or
            {number: name}. None: "class 0", "class 1", ...
        num_classes: of the network.
    Raises:
        RunError: if it cannot be read, or does not name each class once.
    """
    names = {number: f"class {number}" for number in range(num_classes)}
    if path is None:
        return list(names.values())
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = json.loads(text) if path.suffix == ".json" else list(filter(None, map(str.strip, text.splitlines())))
        found = dict(enumerate(data)) if isinstance(data, list) else _by_number(data)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot read the names of the classes in {path}: {reason}") from None
    if sorted(found) != list(names):
        wrong = f"it names {len(found)}, the network has {num_classes}"
        if len(found) == num_classes:
            wrong = f"numbers go from 0 to {num_classes - 1}, each once"
        raise RunError(f"the names of the classes in {path} do not fit: {wrong}")
    return [str(found[number]) for number in names]


def _by_number(data: dict) -> dict[int, str]:
    if all(str(value).isdecimal() for value in data.values()):
        return {int(number): name for name, number in data.items()}
    return {int(number): name for number, name in data.items()}
