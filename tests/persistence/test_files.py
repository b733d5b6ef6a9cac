"""A file is written whole or stays as it was."""

import os

import pytest

from sktorch.persistence.files import write_whole


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "model.bin"
    write_whole(path, b"before")
    with pytest.raises(TypeError):
        write_whole(path, "no bytes")
    assert path.read_bytes() == b"before"
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["model.bin"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "model.bin")
    write_whole(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "model.bin").read_bytes() == b"content"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "model.bin", b"content")


def test_errors_name_the_path_that_was_given(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "model.bin"):
        with pytest.raises((FileNotFoundError, IsADirectoryError, PermissionError)) as caught:
            write_whole(path, b"content")
        assert caught.value.filename == str(path)
    assert "make it first" in str(caught.value)
