"""Prepare a downloaded data set for training: find, convert, check and list its videos."""

import os
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.ssv2 import PREFIX
from slowfast_atfr.prepare.check import check_video, read_report, write_report
from slowfast_atfr.prepare.collection import VideoSet
from slowfast_atfr.prepare.jobs import run_jobs
from slowfast_atfr.prepare.lists import check_sources, write_classes, write_missing
from slowfast_atfr.prepare.pictures import extract_frames
from slowfast_atfr.prepare.recipes import RECIPES, Recipe
from slowfast_atfr.prepare.request import Request
from slowfast_atfr.prepare.resize import resize_video
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import remove_parts

REPORT = "bad.csv"


def prepare(request: Request) -> bool:
    """Prepare a data set and print what was done.

    Returns:
        False if the lists have videos that are known to be bad.
    Raises:
        ConfigError: if the request, or what it names, is wrong.
        RunError: if a file cannot be written.
    """
    recipe = RECIPES[request.name]
    videos = recipe.collect(request)
    check_sources(videos, request.out, _list_files(videos))
    print(counts(recipe, videos))
    for note in videos.notes:
        print(note)
    _check_not_empty(videos, "none of its files exists; check the folder")
    report = os.path.join(request.out, REPORT)
    before = _earlier_report(request, report)
    try:
        unreadable, new = {}, set()
        if request.resize or request.frames:
            videos, unreadable, new = _converted(request, videos)
        reasons = _checked(request, videos) if request.check else {p: why for p, why in before.items() if p not in new}
        paths = set(videos.paths()) if request.check or request.drop_bad else ()
        bad = {path: reason for path, reason in reasons.items() if path in paths}
        if request.check or before != unreadable | reasons:
            write_report(report, reasons | unreadable)
        listed = videos.without(bad) if request.drop_bad else videos
        _check_not_empty(listed, f"all of its videos are bad; the reasons: {report}")
        recipe.write(listed, request.out)
        write_classes(listed, request.out)
        if write_missing(listed, request.out):
            print(f"what is missing: {os.path.join(request.out, 'missing.csv')}")
    except OSError as error:
        raise RunError(f"cannot write {error.filename or request.out}: {error.strerror}") from None
    if unreadable or bad:
        kept = 0 if request.drop_bad else len(bad)
        found = f"{len(unreadable) + len(bad)} bad videos, {kept} of them in the lists"
        print(f"{found}; the reasons: {report}{'; --drop-bad leaves them out' if kept else ''}")
    print(_training_pairs(recipe, request, listed))
    return request.drop_bad or not bad


def counts(recipe: Recipe, videos: VideoSet) -> str:
    """Return a table of the lists: videos found, missing, and in the official lists."""
    classes = f"{len(videos.classes)} classes"
    if recipe.num_classes:
        classes += f" (official: {recipe.num_classes})"
    rows = [("list", "videos", "missing", "official")]
    for name, entries in videos.lists.items():
        official = recipe.counts.get(name)
        missing = len(videos.missing.get(name, ()))
        rows.append((name, f"{len(entries):,}", f"{missing:,}", f"{official:,}" if official else "-"))
    lines = [f"{row[0]:<14}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    return "\n".join([f"{recipe.title}: {classes}", *lines])


def _list_files(videos: VideoSet) -> list[str]:
    """Return all files that may be written to the output folder."""
    lists = [f"{name}.csv" for name in (*videos.lists, "train", "val", "test")]
    jsons = [f"{PREFIX}{part}.json" for part in ("labels", "train", "validation")]
    return [*lists, *jsons, "classes.json", "missing.csv", REPORT]


def _check_not_empty(videos: VideoSet, why: str) -> None:
    empty = [name for name, entries in videos.lists.items() if not entries]
    if empty or not videos.lists:
        raise ConfigError(f"the list {empty[0] if empty else 'train'} would be empty: {why}")


def _converted(request: Request, videos: VideoSet) -> tuple[VideoSet, dict[str, str], set[str]]:
    """Write small copies; those that exist are kept.

    Returns:
        the copies, reasons for videos without one, and the paths for which an old report is out of date.
    """
    if request.frames:
        folder, ending, function = f"frames_{request.frames}", "", partial(extract_frames, short_side=request.frames)
    else:
        folder, ending, function = f"videos_{request.resize}", ".mp4", partial(resize_video, short_side=request.resize)
    root = os.path.join(request.out, folder)

    def rename(path: str) -> str:
        return os.path.splitext(path)[0] + ending

    sources: dict[str, str] = {}
    for path in videos.paths():
        other = sources.setdefault(rename(path), path)
        if other != path:
            raise ConfigError(f"{other} and {path} would both become {rename(path)}; rename one of them")
    remove_parts(root)
    todo = [target for target in sources if not os.path.exists(os.path.join(root, target))]
    done = len(sources) - len(todo)
    if done:
        print(f"{done:,} of {len(sources):,} are already in {root}")
    failed = _run_on(
        function,
        {(os.path.join(videos.root, sources[target]), os.path.join(root, target)): sources[target] for target in todo},
        request.workers,
        folder,
        done,
    )
    new = {*todo, *(sources[target] for target in todo)}
    return videos.without(failed).moved(root, rename), failed, new


def _earlier_report(request: Request, report: str) -> dict[str, str]:
    """Read the report of an earlier command if this one uses it or adds to it. Raises ConfigError."""
    adds = (request.resize or request.frames) and os.path.exists(report)
    return read_report(report) if (request.drop_bad or adds) and not request.check else {}


def _checked(request: Request, videos: VideoSet) -> dict[str, str]:
    """Check the videos; return the reasons of the bad ones."""
    jobs = {os.path.join(videos.root, path): path for path in videos.paths()}
    return _run_on(partial(check_video, quick=request.quick), jobs, request.workers, "check", 0)


def _run_on(
    function: Callable[[Any], None], path_of: dict[Any, str], workers: int, title: str, done: int
) -> dict[str, str]:
    """Run jobs; return the reasons of those that fail, by path."""
    failed = run_jobs(function, list(path_of), workers=workers, title=title, done=done)
    return {path_of[job]: reason for job, reason in failed.items()}


def _training_pairs(recipe: Recipe, request: Request, videos: VideoSet) -> str:
    pairs = {
        "DATA.PATH_TO_DATA_DIR": request.out,
        "DATA.PATH_PREFIX": videos.root,
        "TRAIN.DATASET": recipe.dataset,
        "TEST.DATASET": recipe.dataset,
        "MODEL.NUM_CLASSES": str(len(videos.classes)),
    }
    return "to train, add to a config: " + " ".join(f"{key} {shlex.quote(value)}" for key, value in pairs.items())
