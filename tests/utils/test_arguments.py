"""Files whose names look like options go after --, and the errors say so."""

import pytest

from slowfast_atfr.engine.predict_cli import parse_args
from slowfast_atfr.engine.visualize_cli import main as visualize
from slowfast_atfr.prepare.cli import parse

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
