"""Files that appear whole or not at all."""

import os

import pytest

from ntkode.files import remove_asides, write_atomically


def test_a_file_keeps_its_content_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_atomically(path, "whole")

    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "half")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made_and_text_is_utf8(tmp_path):
    path = tmp_path / "some" / "folder" / "file.txt"
    write_atomically(path, "λ")
    assert path.read_bytes() == b"\xce\xbb"


def test_files_of_killed_processes_are_deleted_and_no_others(tmp_path):
    for name in (".status.json.0123abcd", "status.json", ".hidden"):
        (tmp_path / name).write_text("")
    remove_asides(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "status.json"]
