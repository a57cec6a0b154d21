"""Tables in markdown."""

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "r": "---:"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "", title: str = "") -> str:
    """A table, with its title as a paragraph above it.

    Args:
        align: a letter for each column, l or r; "": all are r but the first, which names the rows.
    """
    align = align or "l" + "r" * (len(header) - 1)
    rule = [RULES[letter] for letter in align]
    lines = "\n".join(row(cells) for cells in (header, rule, *rows))
    return f"{title}\n\n{lines}" if title else lines


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
