import argparse

import pytest

from slowfast_atfr.utils.arguments import existing_file, existing_folder, file_to_write, folder_to_write


def test_what_fits_passes(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    assert existing_file(str(file)) == file_to_write(str(file)) == file
    assert existing_folder(str(tmp_path)) == str(tmp_path) and folder_to_write(str(tmp_path)) == tmp_path
    new = tmp_path / "a" / "b"
    assert folder_to_write(str(new)) == file_to_write(str(new)) == new and not new.parent.exists()
    monkeypatch.chdir(tmp_path)
    assert str(folder_to_write("here")) == "here"


@pytest.mark.parametrize(
    "check, name, told",
    [
        (existing_file, "none", "there is no file"),
        (existing_file, ".", "there is no file"),
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
