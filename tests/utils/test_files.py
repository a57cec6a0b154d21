"""A file is there whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest

from slowfast_atfr.utils.files import remove_parts, replacing, write_whole


def test_a_file_takes_its_place_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "new" / "café.txt"
    write_whole(path, "one\n")
    write_whole(path, b"two\n")
    assert path.read_bytes() == b"two\n" and list(path.parent.iterdir()) == [path]


def test_a_folder_takes_its_place_whole(tmp_path):
    with replacing(tmp_path / "folder") as part:
        os.mkdir(part)
        (tmp_path / part / "1.jpg").write_text("")
        assert not (tmp_path / "folder").exists()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["1.jpg"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_failure_leaves_what_was_there(tmp_path, kind):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="No space left") as error, replacing(tmp_path / "a") as part:
        os.mkdir(part) if kind == "folder" else open(part, "w").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert error.value.filename == str(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_what_a_killed_program_leaves_is_removed_and_nothing_else(tmp_path):
    code = "import os, sys; from slowfast_atfr.utils.files import replacing as r\nwith r(sys.argv[1]) as p: "
    for name, make in (("a", "open(p, 'w')"), ("b", "os.mkdir(p); open(p + '/1', 'w')")):
        command = [sys.executable, "-c", f"{code}{make}; os.kill(os.getpid(), 9)", str(tmp_path / "sub" / name)]
        (tmp_path / "sub").mkdir(exist_ok=True)
        assert subprocess.run(command).returncode == -9
    for name in ("mine.part", ".part", "sub/a.mp4"):
        (tmp_path / name).write_text("")
    assert remove_parts(tmp_path) == 2 and remove_parts(tmp_path) == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".part", "a.mp4", "mine.part", "sub"]


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert error.value.filename == str(tmp_path / "other")
