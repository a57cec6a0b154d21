"""The order of the rooms that CONTRIBUTING and the page on the architecture state: each imports those before it."""

import ast
import re


def imported(path):
    """The absolute names that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            start = [node.module] if isinstance(node, ast.ImportFrom) else []
            yield from (".".join([*start, alias.name]) for alias in node.names)


def test_every_room_imports_earlier_rooms_only(repo):
    rule = (repo / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("**Imports point one way**: ")[2]
    rooms = re.findall(r"`(\w+)`", rule.partition(";")[0])
    page = (repo / "docs/architecture.md").read_text(encoding="utf-8")
    assert rooms == re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)
    assert set(rooms) == {path.parent.name for path in repo.glob("slowfast_atfr/*/__init__.py")}
    for number, room in enumerate(rooms):
        later = [["slowfast_atfr", name] for name in rooms[number + 1 :]]
        for path in (repo / "slowfast_atfr" / room).rglob("*.py"):
            wrong = [name for name in imported(path) if name.split(".")[:2] in later]
            assert not wrong, f"{path} imports {wrong}"
