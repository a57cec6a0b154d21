import json
import logging
import math
import os
import re

import numpy as np
import pytest
import torch

from slowfast_atfr.utils.logging import log_json_stats, setup_logging

package = logging.getLogger("slowfast_atfr")


@pytest.fixture(autouse=True)
def _clean():
    level = package.level
    yield
    for handler in package.handlers[:]:
        package.removeHandler(handler)
        handler.close()
    package.setLevel(level)


def test_a_line_goes_once_to_stdout_and_once_to_the_file(tmp_path, capsys):
    for _ in range(2):  # the second call replaces the first
        setup_logging(str(tmp_path / "new" / "out"))
    package.info("ten %d", 10)
    package.debug("silence")
    line = r"\[\d\d/\d\d \d\d:\d\d:\d\d\]\[INFO\] test_logging.py: +\d+: ten 10\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    assert re.fullmatch(line, (tmp_path / "new" / "out" / "stdout.log").read_text())


def test_a_second_run_goes_on_in_the_same_file(tmp_path):
    for text in ("first", "second"):
        setup_logging(str(tmp_path))
        package.info(text)
    assert [line.split()[-1] for line in (tmp_path / "stdout.log").read_text().splitlines()] == ["first", "second"]


def test_other_processes_say_warnings_with_their_rank(tmp_path, capsys):
    setup_logging(str(tmp_path), rank=3)
    package.info("silence")
    package.warning("beware")
    assert re.search(r"\[WARNING\]\[rank 3\] .*: beware\n$", capsys.readouterr().out)
    assert not list(tmp_path.iterdir())


def _logged(capsys, stats):
    setup_logging(None)
    log_json_stats(stats)
    _, _, text = capsys.readouterr().out.partition("json_stats: ")
    return text


def test_json_stats_are_one_sorted_line_of_json(capsys):
    text = _logged(capsys, {"b": 1.23456789, "a": "3/196", "c": 2, "lr": 1.5e-5})
    assert text == '{"a": "3/196", "b": 1.23457, "c": 2, "lr": 1.5e-05}\n'


def test_json_stats_take_tensors_and_numpy_numbers(capsys):
    stats = {"t": torch.tensor(0.5), "n": np.float32(0.25), "i": np.int64(3)}
    assert json.loads(_logged(capsys, stats)) == {"t": 0.5, "n": 0.25, "i": 3}


def test_numbers_that_are_not_finite_are_still_json(capsys):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    stats = {"loss": math.nan, "up": math.inf, "down": -math.inf}
    read = json.loads(_logged(capsys, stats), parse_constant=refuse)
    assert read == {"loss": "nan", "up": "inf", "down": "-inf"}
    assert math.isnan(float(read["loss"])) and float(read["down"]) == -math.inf


def test_names_that_are_no_utf8_are_logged_with_their_bytes_escaped(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(package, "propagate", False)  # pytest-xdist cannot send such text between its processes
    setup_logging(str(tmp_path))
    package.warning("skipped %s", os.fsdecode(b"caf\xe9.mp4"))
    out, err = capsys.readouterr()
    assert r"skipped caf\udce9.mp4" in out and not err
    assert r"skipped caf\udce9.mp4" in (tmp_path / "stdout.log").read_text(encoding="utf-8")
