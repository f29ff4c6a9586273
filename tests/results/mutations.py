"""Damage that a disk, a power cut, a copy or an editor does to a file."""

import os
import shutil


def _content(change):
    def mutate(path):
        path.write_bytes(change(path.read_bytes()))

    return mutate


def _digit(content):
    """Another digit in the middle: the size stays."""
    digits = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    if not digits:
        return content + b"1"
    place = digits[len(digits) // 2]
    return content[:place] + bytes([b"1234567890"[content[place] - ord("0")]]) + content[place + 1 :]


def _folder(path):
    path.unlink()
    path.mkdir()


def _link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


MUTATIONS = {
    "emptied": lambda path: os.truncate(path, 0),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "three bytes shorter": lambda path: os.truncate(path, max(0, path.stat().st_size - 3)),
    "deleted": lambda path: path.unlink(),
    "null": _content(lambda content: b"null\n"),
    "{}": _content(lambda content: b"{}\n"),
    "[]": _content(lambda content: b"[]\n"),
    "a number": _content(lambda content: b"7\n"),
    "a digit": _content(_digit),
    "no UTF-8": _content(lambda content: content[:-5] + b"\xff" + content[-4:]),
    "zeros": _content(lambda content: b"\0" * len(content)),
    "a page of zeros": _content(lambda content: content[: len(content) // 2] + b"\0" * 512),
    "doubled": _content(lambda content: content * 2),
    "a line less": _content(lambda content: b"".join(content.splitlines(keepends=True)[1:])),
    "two lines swapped": _content(lambda content: b"\n".join(reversed(content.split(b"\n", 2)))),
    "garbage at the end": _content(lambda content: content + b"\x1b[2Jx\n"),
    "nested without end": _content(lambda content: b"[" * 100_000),
    "a folder": _folder,
    "a link": _link,
}


def shelved(folder, shelf):
    """Copy a results folder, so that one copy after the other can be damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(shelf, folder)
    return folder
