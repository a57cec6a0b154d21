"""Damaged copies of real files give a clip or a reason: no crash, no endless reading, nothing left open."""

import json
import signal
from pathlib import Path

import pytest

from tests.processes import Program

SHAPES = {"train": [4, 32, 32, 3], "val": [4, 32, 32, 3], "test": [2, 4, 32, 32, 3]}  # of damaged_copies.py
SOUND = 14  # of the 15 originals; corrupted.mp4 is none of them


@pytest.mark.timeout(600)
@pytest.mark.parametrize("copies", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_damaged_copies_give_a_clip_or_a_reason(real_clips, repo, tmp_path, copies):
    originals = real_clips / "originals"
    script = repo / "tests" / "datasets" / "damaged_copies.py"
    done = Program(script, str(originals), str(tmp_path), str(copies), cwd=repo)
    out, err = done.communicate(timeout=500)
    lines = [json.loads(line) for line in out.splitlines()]
    last = [line["path"] for line in lines if "path" in line][-1]
    assert done.returncode != -signal.SIGALRM, f"reading {last} does not come to an end"
    assert done.returncode == 0, f"{last} ended the process with {done.returncode}:\n{err[-2000:]}"

    path, read, number = None, 0, -1
    for line in lines[:-1]:
        if "path" in line:
            path, number = line["path"], number + 1
            continue
        for index, name, reason in line["skipped"]:
            assert reason and (line["split"] == "train" or (index, name) == (number, path))
        if line["shape"] is None:  # training takes another video
            assert line["split"] != "train" and len(line["skipped"]) == 1, line
        else:
            read += line["split"] != "train"
            assert line["shape"] == SHAPES[line["split"]]
            assert bool(line["skipped"]) == (line["index"] != number), line
            if line["skipped"]:
                assert line["skipped"][0][:2] == [number, path]
        if Path(path).parent == originals and Path(path).name != "corrupted.mp4":
            assert line["skipped"] == [], line
    assert number + 1 == 15 + copies and 2 * SOUND < read < 2 * (15 + copies)
    assert lines[-1]["open_files"] < 12
    memory = lines[-1]["mib"]
    assert max(memory[-5:]) - max(memory[:15]) < 60, memory  # a file kept open holds 10 and more; the heap moves by 30
