"""Command lines whose arguments are files."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_FILE = re.compile(r"^-.*\.[a-z]\w{1,4}$", re.IGNORECASE)


class FileArgumentParser(argparse.ArgumentParser):
    """A parser whose errors say what to do about a file that is called as an option might be, such as -dash.mp4."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        options = self._given[: self._given.index("--")] if "--" in self._given else self._given
        names = [name for name in options if name.startswith("-") and (os.path.exists(name) or _FILE.match(name))]
        if names:
            message += f"\na name that begins with - goes to the end, after --: {self.prog} ... -- {' '.join(names)}"
        super().error(message)
