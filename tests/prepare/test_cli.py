"""The command line: one command for each data set, and an error of one line for every wrong one."""

import csv
import errno
import json
import os
import shutil
from functools import partial

import pytest

from slowfast_atfr.engine.cli import main as run_net
from slowfast_atfr.prepare.cli import EXAMPLES, main, parse
from slowfast_atfr.prepare.recipes import RECIPES
from slowfast_atfr.reproduce.splits import main as run_splits
from tests.tiny_sets import (
    ACTIONS,
    CLASSES,
    small_pairs,
    write_clip,
    write_clips,
    write_hmdb51,
    write_kinetics,
    write_ssv2,
    write_ucf101,
)

CONFIG = "configs/Demo/SLOWFAST_R18_ATFR.yaml"


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def train(repo, tmp_path):
    """train(lists, prefix, dataset): the run's test_final figures, of one epoch."""

    def run(lists, prefix, dataset, **changes):
        where = {"DATA__PATH_TO_DATA_DIR": lists, "DATA__PATH_PREFIX": prefix, "OUTPUT_DIR": tmp_path / "run"}
        sets = {"TRAIN__DATASET": dataset, "TEST__DATASET": dataset}
        assert run_net(["--cfg", str(repo / CONFIG), *small_pairs(**where | sets | changes)]) == 0
        log = (tmp_path / "run" / "stdout.log").read_text()
        return json.loads(log.rpartition("json_stats: ")[2].splitlines()[0])

    return run


@pytest.mark.parametrize("splits", ["one", pytest.param("all", marks=pytest.mark.slow)])
def test_ucf101_from_the_download_to_the_average_of_three_splits(repo, tmp_path, capsys, train, splits):
    folder = write_ucf101(tmp_path / "ucf")
    assert main(["ucf101", str(folder), "--resize", "32", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "UCF101: 3 classes (official: 101)" in out and "9,537" in out and "3,696" in out
    assert lines_of(folder / "prepared" / "split2" / "val.csv")[1].endswith("Basketball/v_Basketball_g02_c01.mp4 1")
    assert json.loads((folder / "prepared" / "classes.json").read_text()) == {c: i for i, c in enumerate(CLASSES)}
    shutil.rmtree(folder / "UCF-101")  # the copies are enough
    if splits == "one":
        figures = train(folder / "prepared", folder / "prepared" / "videos_32", "ucf101", DATA__SPLIT=3)
        assert (figures["num_videos"], figures["num_skipped"]) == (3, 0)
        return
    where = {"DATA__PATH_TO_DATA_DIR": folder / "prepared", "DATA__PATH_PREFIX": folder / "prepared" / "videos_32"}
    sets = {"TRAIN__DATASET": "ucf101", "TEST__DATASET": "ucf101", "OUTPUT_DIR": tmp_path / "run"}
    assert run_splits(["--cfg", str(repo / CONFIG), *small_pairs(**where | sets)]) == 0
    assert json.loads((tmp_path / "run" / "splits.json").read_text())["splits"]["3"]["num_videos"] == 3


def test_hmdb51_lists_are_what_the_official_files_say(tmp_path, train):
    folder = write_hmdb51(tmp_path / "hmdb", per_class=3)
    assert main(["hmdb51", str(folder)]) == 0
    assert lines_of(folder / "prepared" / "split3" / "val.csv") == [
        f"hmdb51_org/{name}/#3 & (film)_{name}_u_nm_np1_fr_goo_0.avi {label}" for label, name in enumerate(ACTIONS)
    ]
    figures = train(folder / "prepared", folder, "hmdb51", DATA__SPLIT=3)
    assert (figures["num_videos"], figures["num_skipped"]) == (3, 0)


def test_kinetics_lists_can_be_moved_with_their_videos(tmp_path, train, capsys):
    folder = write_kinetics(tmp_path / "k400", by_class=True)
    assert main(["kinetics400", str(folder), "--out", str(tmp_path / "lists")]) == 0
    with open(tmp_path / "lists" / "missing.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 6
    (tmp_path / "other place").mkdir()
    moved = shutil.move(folder, tmp_path / "other place" / "vidéos")
    figures = train(tmp_path / "lists", moved, "kinetics")
    assert (figures["num_videos"], figures["num_skipped"]) == (6, 0)


@pytest.mark.parametrize("way", ["videos", "frames", "resized"])
def test_ssv2_as_videos_and_as_pictures(tmp_path, train, way):
    folder = write_ssv2(tmp_path / "ssv2", per_class=2)
    options = {"videos": [], "frames": ["--frames", "32"], "resized": ["--resize", "32"]}[way]
    missing = folder / "20bn-something-something-v2" / "2.webm"
    missing.unlink()
    if way == "resized":
        main(["ssv2", str(folder), "--frames", "32", "--workers", "1"])  # lists of frames that must not stay
    assert main(["ssv2", str(folder), *options, "--workers", "2"]) == 0
    out = folder / "prepared"
    place = {"videos": missing.parent, "frames": out / "frames_32", "resized": out / "videos_32"}[way]
    assert (out / "train.csv").exists() == (way == "frames")
    assert len(json.loads((out / "something-something-v2-train.json").read_text())) == 5
    assert train(out, place, "ssv2")["num_videos"] == 6


def test_a_folder_of_ones_own_with_blanks_and_accents(tmp_path, train):
    folder = tmp_path / "mes vidéos"
    names = ["sauter à la corde", "courir, vite", "走る"]
    write_clips(
        folder, [(f"{name}/clip {n} of {label}.mp4", label) for label, name in enumerate(names) for n in range(5)]
    )
    assert main(["folder", str(folder)]) == 0
    figures = train(folder / "prepared", folder, "kinetics")
    assert (figures["num_videos"], figures["num_skipped"]) == (3, 0)
    classes = json.loads((folder / "prepared" / "classes.json").read_text(encoding="utf-8"))
    assert classes == {name: label for label, name in enumerate(sorted(names))}


# bad videos


@pytest.fixture
def spoilt(tmp_path):
    """Two classes of five videos; one is cut in its middle, one is no video."""
    folder = tmp_path / "own"
    write_clips(folder, [(f"{name}/{n}.mp4", label) for label, name in enumerate(("run", "jump")) for n in range(5)])
    whole = write_clip(folder / "run" / "1.mp4", frames=100).read_bytes()
    (folder / "run" / "1.mp4").write_bytes(whole[:-2000] + bytes(2000))
    (folder / "jump" / "2.mp4").write_text("<html>404</html>")
    return folder


def listed(folder):
    return [line for name in ("train", "val") for line in lines_of(folder / "prepared" / f"{name}.csv")]


def test_a_check_reports_bad_videos_and_the_lists_can_do_without(spoilt, capsys):
    assert main(["folder", str(spoilt), "--check", "--workers", "2"]) == 1
    with open(spoilt / "prepared" / "bad.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "reason"] and "jump/2.mp4" in [path for path, _ in rows] and all(why for _, why in rows)
    assert len(listed(spoilt)) == 10 and "--drop-bad leaves them out" in capsys.readouterr().out
    assert main(["folder", str(spoilt), "--drop-bad"]) == 0  # by the report
    assert len(listed(spoilt)) == 10 - len(rows) and not any("jump/2.mp4" in line for line in listed(spoilt))
    assert main(["folder", str(spoilt), "--check", "--quick", "--drop-bad", "--workers", "1"]) == 0
    assert not any("jump/2.mp4" in line for line in listed(spoilt))


def test_a_bad_video_does_not_stop_the_copies_and_is_not_listed(spoilt, capsys):
    assert main(["folder", str(spoilt), "--resize", "32", "--workers", "2"]) == 0
    copies = sorted(path.relative_to(spoilt / "prepared" / "videos_32").as_posix()
                    for path in (spoilt / "prepared" / "videos_32").rglob("*.mp4"))  # fmt: skip
    assert sorted(line.rpartition(" ")[0] for line in listed(spoilt)) == copies and "jump/2.mp4" not in copies
    assert "bad videos, 0 of them in the lists" in capsys.readouterr().out
    assert "jump/2.mp4" in (spoilt / "prepared" / "bad.csv").read_text()


def test_copies_that_are_there_are_kept_and_leftovers_go(spoilt, capsys):
    assert main(["folder", str(spoilt), "--resize", "32", "--workers", "2"]) == 0
    root = spoilt / "prepared" / "videos_32" / "run"
    (root / "0.mp4").unlink()
    (root / ("." + "0" * 32 + ".part")).write_bytes(b"half")
    before = {path.name: path.stat().st_mtime_ns for path in root.iterdir()}
    capsys.readouterr()
    assert main(["folder", str(spoilt), "--resize", "32", "--workers", "2"]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in root.iterdir()}
    assert after.pop("0.mp4") and after.items() <= before.items() and not any(".part" in name for name in after)
    assert " are in " in capsys.readouterr().out


def test_a_video_that_was_replaced_is_no_longer_bad(spoilt):
    assert main(["folder", str(spoilt), "--resize", "32", "--workers", "2"]) == 0
    for name in ("jump/2.mp4", "run/1.mp4"):
        write_clip(spoilt / name)
    assert main(["folder", str(spoilt), "--resize", "32", "--drop-bad", "--workers", "1"]) == 0
    assert len(listed(spoilt)) == 10 and lines_of(spoilt / "prepared" / "bad.csv") == ["path,reason"]


def test_later_copies_do_not_forget_what_a_check_found(spoilt):
    assert main(["folder", str(spoilt), "--resize", "32", "--workers", "1"]) == 0
    (spoilt / "prepared" / "videos_32" / "run" / "0.mp4").write_bytes(b"rotten")
    assert main(["folder", str(spoilt), "--resize", "32", "--check", "--workers", "1"]) == 1
    assert main(["folder", str(spoilt), "--resize", "32", "--workers", "1"]) == 0
    assert "run/0.mp4" in (spoilt / "prepared" / "bad.csv").read_text()
    assert main(["folder", str(spoilt), "--resize", "32", "--drop-bad", "--workers", "1"]) == 0
    assert not any("run/0.mp4" in line for line in listed(spoilt))


def test_a_full_disk_is_one_clear_error(tmp_path, capsys):
    folder = tmp_path / "own"
    write_clips(folder, [(f"{name}/{n}.mp4", label) for label, name in enumerate(("run", "jump")) for n in range(3)])
    (folder / "prepared").write_text("a file, so that no folder can be made")
    assert main(["folder", str(folder), "--resize", "32", "--workers", "1"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: cannot write to ") and "start the same command again" in message
    assert main(["folder", str(folder)]) == 1 and "error: cannot write" in capsys.readouterr().err


# wrong commands


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: NAME"),
        (["kinetics"], "invalid choice: 'kinetics'"),
        (["ucf101"], "required: FOLDER"),
        (["ucf101", "x", "--resize", "33"], "--resize 33: the short side is an even number of pixels, at least 16"),
        (["ucf101", "x", "--frames"], "unrecognized arguments: --frames"),
        (["ssv2", "x", "--frames", "8"], "--frames 8: the short side is an even number"),
        (["ssv2", "x", "--frames", "--resize"], "not allowed with argument"),
        (["ucf101", "x", "--quick"], "--quick needs --check"),
        (["folder", "x", "--val-share", "1"], "--val-share 1.0: between 0 and 1"),
        (["folder", "x", "--seed", "-1"], "--seed -1: at least 0"),
        (["hmdb51", "x", "--out", "./x/"], "--out ./x/: that is the data set's own FOLDER"),
        (["hmdb51", "x", "--workers", "0"], "--workers 0: at least 1"),
        (["mini_kinetics", "x"], "one of the arguments --ids --classes is required"),
    ],
)
def test_a_wrong_argument_is_reported(capsys, argv, message):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "mini_kinetics"])
def test_a_folder_that_is_not_there_is_reported(capsys, tmp_path, name):
    assert main([name, str(tmp_path / "nowhere")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and len(message.splitlines()) == 1 and "nowhere" in message


@pytest.mark.parametrize(
    ("name", "message"), [("ucf101", "ucfTrainTestlist/"), ("hmdb51", "testTrainMulti_7030_splits/")]
)
def test_missing_annotations_are_reported(capsys, tmp_path, name, message):
    write_clip(tmp_path / "a" / "b.mp4")
    assert main([name, str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_annotations_are_never_written_over(capsys, tmp_path):
    folder = write_kinetics(tmp_path / "k400")
    before = (folder / "annotations" / "train.csv").read_text()
    assert main(["kinetics400", str(folder), "--out", str(folder / "annotations")]) == 2
    assert "train.csv would replace the official" in capsys.readouterr().err
    assert (folder / "annotations" / "train.csv").read_text() == before


def test_names_that_would_collide_are_reported(capsys, tmp_path):
    for name in ("run/a.mp4", "run/a.avi", "jump/b.mp4", "jump/c.mp4"):
        write_clip(tmp_path / name)
    assert main(["folder", str(tmp_path), "--resize", "32"]) == 2
    assert "run/a.avi and run/a.mp4 would both become run/a.mp4" in capsys.readouterr().err.replace(
        "run/a.mp4 and run/a.avi", "run/a.avi and run/a.mp4"
    )


@pytest.mark.parametrize("options", [[], ["--resize", "32"]], ids=["lists", "copies"])
def test_a_report_that_is_not_there_is_reported_before_any_work(capsys, spoilt, options):
    assert main(["folder", str(spoilt), "--drop-bad", *options]) == 2
    assert "bad.csv" in capsys.readouterr().err and not (spoilt / "prepared").exists()


@pytest.mark.parametrize(("write", "name", "closed"), [
    (write_kinetics, "kinetics400", "annotations"), (write_kinetics, "kinetics400", "train"),
    (write_hmdb51, "hmdb51", "testTrainMulti_7030_splits"), (write_hmdb51, "hmdb51", "hmdb51_org/wave"),
])  # fmt: skip
def test_a_folder_that_cannot_be_read_is_reported(capsys, monkeypatch, tmp_path, write, name, closed):
    """Its videos would be missing, or its class, and the others be labelled anew."""
    folder, real = write(tmp_path / "data"), {"listdir": os.listdir, "scandir": os.scandir}

    def refuse(which, path="."):
        if os.fspath(path) == str(folder / closed):  # root may read whatever its mode says
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real[which](path)

    for which in real:
        monkeypatch.setattr(os, which, partial(refuse, which))
    assert main([name, str(folder)]) == 2
    assert capsys.readouterr().err == f"error: cannot read the folder {folder / closed}: Permission denied\n"


def test_ctrl_c_prints_how_to_continue(capsys, monkeypatch, tmp_path):
    def stop(request):
        raise KeyboardInterrupt

    monkeypatch.setattr("slowfast_atfr.prepare.cli.prepare", stop)
    assert main(["folder", str(tmp_path)]) == 130
    assert "start the same command again to continue" in capsys.readouterr().err


def test_help_has_an_example_for_each_that_can_be_parsed(capsys):
    assert EXAMPLES.keys() == RECIPES.keys()
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for name, example in EXAMPLES.items():
        assert example in out and parse(example.split()[1:]).name == name
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert example in capsys.readouterr().out
