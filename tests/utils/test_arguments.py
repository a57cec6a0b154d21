"""Files that a command line names: wrong ones are refused first; names like options go after --."""

import argparse

import pytest

from slowfast_atfr.engine.inference.predict_cli import parse_args
from slowfast_atfr.engine.inference.visualize_cli import main as visualize
from slowfast_atfr.prepare.cli import parse
from slowfast_atfr.utils.arguments import existing_folder, file_to_write, folder_to_write

NEEDED = ["--cfg", "c.yaml", "--checkpoint", "w.pyth"]


@pytest.mark.parametrize("name", ["-dash.mp4", "-.avi", "--two.MKV", "-hello.mp4", "-o.mp4"])
def test_a_name_like_an_option(capsys, name):
    assert parse_args([*NEEDED, "--opts", "NUM_GPUS", "0", "--", name, "b.mp4"]).videos == [name, "b.mp4"]
    for wrong in ([name], ["a.mp4", name], [name, "--top", "3"]):
        with pytest.raises(SystemExit):
            parse_args([*wrong, *NEEDED])
        told = capsys.readouterr().err
        assert f"a name that begins with - goes to the end, after --: predict.py ... -- {name}" in told
    with pytest.raises(SystemExit):
        visualize([name, *NEEDED])
    assert f"visualize_sgs.py ... -- {name}" in capsys.readouterr().err


def test_a_folder_like_an_option(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-videos").mkdir()
    assert parse(["folder", "--", "-videos"]).folder == "-videos"
    with pytest.raises(SystemExit):
        parse(["folder", "-videos"])
    assert "prepare_data.py folder ... -- -videos" in capsys.readouterr().err


def test_other_errors_are_as_they_are(capsys):
    for wrong in (["--no-such"], ["a.mp4", "-x", "--top", "-0.5"], ["--top"]):
        with pytest.raises(SystemExit):
            parse_args([*wrong, *NEEDED])
        assert "after --" not in capsys.readouterr().err


def test_what_fits_passes(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    assert file_to_write(str(file)) == file
    assert existing_folder(str(tmp_path)) == str(tmp_path) and folder_to_write(str(tmp_path)) == tmp_path
    new = tmp_path / "a" / "b"
    assert folder_to_write(str(new)) == file_to_write(str(new)) == new and not new.parent.exists()
    monkeypatch.chdir(tmp_path)
    assert str(folder_to_write("here")) == "here"


@pytest.mark.parametrize(
    "check, name, told",
    [
        (existing_folder, "file", "there is no folder"),
        (folder_to_write, "file", "is a file; name a folder"),
        (folder_to_write, "file/x/y", "which is a file"),
        (file_to_write, ".", "is a folder or a device; name a file"),
        (file_to_write, "file/x", "which is a file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, monkeypatch, check, name, told):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(argparse.ArgumentTypeError, match=told):
        check(name)
