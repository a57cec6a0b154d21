"""A data set on disk: the videos of its lists, and those that its annotations name but that are missing."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import NamedTuple


class Entry(NamedTuple):
    """A video of a list: its path relative to the root, with `/`, and its label."""

    path: str
    label: int


@dataclass(frozen=True)
class VideoSet:
    """The lists of a data set.

    root: base folder of all paths. classes: names by label. lists: videos by name of the list, such as train or
    split1/val. missing: by list, names in the annotations that the folder lacks. sources: the annotation files. notes:
    sentences for the user.
    """

    root: str
    classes: tuple[str, ...]
    lists: dict[str, tuple[Entry, ...]]
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """Return every path once, in the order of the lists."""
        return list(dict.fromkeys(entry.path for entries in self.lists.values() for entry in entries))

    def moved(self, root: str, rename: Callable[[str], str]) -> "VideoSet":
        """Return the same videos in another root; `rename` gives the new path of each."""
        lists = {
            name: tuple(Entry(rename(path), label) for path, label in entries) for name, entries in self.lists.items()
        }
        return replace(self, root=root, lists=lists)

    def without(self, paths: Collection[str]) -> "VideoSet":
        """Return the lists without these videos."""
        lists = {
            name: tuple(entry for entry in entries if entry.path not in paths) for name, entries in self.lists.items()
        }
        return replace(self, lists=lists)
