"""Kinetics-400, -600, -700, and subsets such as Mini-Kinetics, by their annotation files."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.kinetics import read_folder
from slowfast_atfr.datasets.video_files import VideoFiles
from slowfast_atfr.prepare.class_list import read_class_list, read_ids
from slowfast_atfr.prepare.collection import Entry, VideoSet
from slowfast_atfr.prepare.request import Request

COLUMNS = ("youtube_id", "time_start", "time_end", "split")
LIST_OF = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


class Row(NamedTuple):
    """A clip of the annotations; the label is empty if it is withheld."""

    part: str
    label: str
    youtube_id: str
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.youtube_id}_{self.start:06d}_{self.end:06d}"


def collect_kinetics(request: Request) -> VideoSet:
    """Collect train, val and, if it has labels and videos, test, from the clips whose files exist.

    A file is named {id}_{start:06d}_{end:06d} or {id}, and may be anywhere below the folder: in train/, in a folder of
    its class, or in replacement/, which comes first.
    Raises:
        ConfigError: for missing or malformed annotations, and as `read_class_list` and `read_ids` do.
    """
    sources = _annotation_files(request.annotations, request.folder)
    rows, notes = _read_rows(sources)
    rows, classes, more = _chosen(rows, request)
    files = VideoFiles(request.folder, skip=request.out)
    label_of = {name: label for label, name in enumerate(classes)}
    lists: dict[str, list[Entry]] = {part: [] for part in ("train", "val", "test")}
    missing: dict[str, list[str]] = {part: [] for part in lists}
    for row in rows:
        path = files.find(row.name, "replacement", row.part) or files.find(row.youtube_id, "replacement", row.part)
        if path is None:
            missing[row.part].append(row.name)
        else:
            lists[row.part].append(Entry(path, label_of[row.label]))
    if not lists["test"]:  # common; testing then uses val
        if missing["test"]:
            more.append(f"none of the {len(missing['test'])} test videos exists, so there is no test list")
        del lists["test"], missing["test"]
    return VideoSet(
        request.folder,
        classes,
        {part: tuple(entries) for part, entries in lists.items()},
        {part: tuple(names) for part, names in missing.items()},
        sources=tuple(sources),
        notes=(*notes, *more),
    )


def _annotation_files(place: str | None, folder: str) -> list[str]:
    """Return the csv files with Kinetics' header in the annotations' folder; or the file itself."""
    if place and os.path.isfile(place):
        return [place]
    candidates = [place] if place else [os.path.join(folder, "annotations"), folder]
    for candidate in candidates:
        paths = [os.path.join(candidate, name) for name in read_folder(candidate) if name.endswith(".csv")]
        paths = [path for path in paths if "youtube_id" in _header(path)]
        if paths:
            return paths
    raise ConfigError(
        f"there is no csv file with the header label,{','.join(COLUMNS)} in {' or '.join(candidates)}; "
        "--annotations names the folder that holds train.csv, val.csv and test.csv of Kinetics"
    )


def _header(path: str) -> list[str]:
    return [column.strip() for column in next(_lines(path, first=1), (1, []))[1]]


def _lines(path: str, first: int = 2) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for cells in reader:
                if cells and reader.line_num >= first:
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _read_rows(paths: list[str]) -> tuple[list[Row], list[str]]:
    """Read the clips of all files, each once, and notes on what was left out."""
    rows: dict[Row, None] = {}
    left_out: Counter[str] = Counter()
    for path in paths:
        columns = _header(path)
        lacking = [column for column in COLUMNS if column not in columns]
        if lacking:
            raise ConfigError(f"{path}, line 1: the header lacks {', '.join(lacking)}; it is label,{','.join(COLUMNS)}")
        for number, cells in _lines(path):
            row = _row(path, number, dict(zip(columns, cells, strict=False)), len(cells) - len(columns))
            if row.part not in LIST_OF.values():
                left_out[f"of the split {row.part!r}"] += 1
            elif not row.label:
                left_out["without a label"] += 1
            elif row in rows:
                left_out["given twice"] += 1
            else:
                rows[row] = None
    return list(rows), [f"left out: {count} lines {what}" for what, count in left_out.items()]


def _row(path: str, number: int, cells: dict[str, str], surplus: int) -> Row:
    try:
        start, end = int(float(cells["time_start"])), int(float(cells["time_end"]))
        youtube_id, split = cells["youtube_id"].strip(), cells["split"].strip()
        if surplus or not youtube_id or not split:
            raise ValueError
    except (KeyError, ValueError, OverflowError):
        seen = ",".join(cells.values())
        raise ConfigError(
            f"{path}, line {number}: {seen!r} is not label,{','.join(COLUMNS)} with whole seconds"
        ) from None
    return Row(LIST_OF.get(split, split), cells.get("label", "").strip(), youtube_id, start, end)


def _chosen(rows: list[Row], request: Request) -> tuple[list[Row], tuple[str, ...], list[str]]:
    """Select the clips and classes of the request; also return notes on what was left out."""
    if request.ids:
        ids = {part: read_ids(os.path.join(request.ids, f"{part}_ytid_list.txt")) for part in ("train", "val")}
        rows = [row for row in rows if row.youtube_id in ids.get(row.part, ())]
        found = {(row.part, row.youtube_id) for row in rows}
        unknown = sum((part, name) not in found for part, names in ids.items() for name in names)
        notes = [f"left out: {unknown} ids of {request.ids} that the annotations do not have"] if unknown else []
    else:
        notes = []
    known = {row.label for row in rows if row.part == "train"}
    classes = read_class_list(request.classes, known) if request.classes else tuple(sorted(known))
    if not classes:
        raise ConfigError(
            "the annotations have no training clip; check that train.csv is among them and of this data set"
        )
    chosen = set(classes)
    if not request.classes:
        stray = next((row for row in rows if row.label not in chosen), None)
        if stray:
            raise ConfigError(
                f"the annotations have {stray.name} of the class {stray.label!r} in {stray.part}, not in train"
            )
    return [row for row in rows if row.label in chosen], classes, notes
