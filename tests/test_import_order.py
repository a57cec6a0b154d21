"""CONTRIBUTING's order of the rooms: each imports those before it."""

import ast
import re

ROOT = "slowfast_atfr"


def test_every_room_imports_earlier_rooms_only(repo):
    rule = re.search(r"\*\*Imports point one way\*\*: (.*?);", (repo / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    rooms = re.findall(r"`(\w+)`", rule)
    folders = {path.name for path in (repo / ROOT).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set(rooms) == folders and len(rooms) == len(folders)
    for room in rooms:
        for path in (repo / ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
                if isinstance(node, ast.ImportFrom):
                    assert not node.level, f"{path} has a relative import"
                    names = [f"{node.module}.{name}" for name in names]
                for name in names:
                    top, _, rest = name.partition(".")
                    later = rooms[rooms.index(room) + 1 :]
                    assert top != ROOT or rest.split(".")[0] not in later, f"{path} imports {name}"
