"""A file that the user names is replaced as a whole, keeps its mode, and is never made another kind of file."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from child_processes import child_environment

from rank_rerank.errors import FileFormatError
from rank_rerank.storage.output_file import open_output

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, modes and FIFOs of POSIX")


def write(path, content=b"new"):
    with open_output(Path(path)) as file:
        file.write(content)


def test_a_missing_file_gets_the_usual_mode(tmp_path):
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            write(tmp_path / f"{mask}")
        finally:
            os.umask(before)
        assert (tmp_path / f"{mask}").read_bytes() == b"new"
        assert stat.S_IMODE((tmp_path / f"{mask}").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755, 0o400])
def test_the_mode_is_kept(tmp_path, mode):
    (tmp_path / "f").write_text("old")
    (tmp_path / "f").chmod(mode)
    write(tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_what_ends_in_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "f").write_text("old")

    def fail():
        with open_output(tmp_path / "f") as file:
            file.write(b"half")
            raise error

    with pytest.raises(FileFormatError if error is OSError else error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize("link", ["direct", "relative", "twice", "dangling"])
def test_a_link_is_followed_and_stays(tmp_path, link):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "f"
    if link != "dangling":
        target.write_text("old")
        target.chmod(0o600)
    (tmp_path / "link").symlink_to("folder/f" if link == "relative" else target)
    if link == "twice":
        (tmp_path / "first").symlink_to("link")
    write(tmp_path / ("first" if link == "twice" else "link"))
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    if link != "dangling":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000])
def test_a_name_that_is_too_long_does_not_fill_the_error(tmp_path, name):
    with (
        pytest.raises(FileFormatError, match=r"xxx.* cannot be written: File name too long") as caught,
        open_output(tmp_path / name),
    ):
        pass
    assert len(str(caught.value)) < 700


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(FileFormatError, match="cannot be written"):
        write(tmp_path / "a")


def test_a_fifo_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "f")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "f").read_bytes()))
    reader.start()
    write(tmp_path / "f")
    reader.join()
    assert found == [b"new"]
    assert stat.S_ISFIFO((tmp_path / "f").stat().st_mode)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_is_written_to_and_stays(tmp_path, device):
    if not Path(device).exists():
        pytest.skip("no such device")
    (tmp_path / "link").symlink_to(device)
    for path in (Path(device), tmp_path / "link"):
        if device == "/dev/full":
            with pytest.raises(FileFormatError, match="No space left"):
                write(path)
        else:
            write(path)
        assert stat.S_ISCHR(Path(device).stat().st_mode)


@pytest.mark.parametrize("target", ["folder", "no/file", "file/file"])
def test_what_cannot_be_written_is_said(tmp_path, target):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match="cannot be written"):
        write(tmp_path / target)


SCRIPT = """
import sys
from pathlib import Path
from rank_rerank.storage.output_file import open_output
print("first", flush=True)
with open_output(Path(sys.argv[1])) as file:
    file.write(b"second\\n")
print("third", flush=True)
"""


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "link"])
@pytest.mark.parametrize("way", ["ab", "r+b", "pipe"])
def test_standard_output_by_its_name_goes_on_where_it_ends(tmp_path, name, way):
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "log").write_text("before\n")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "link") if name == "link" else name]
    environment = child_environment()
    if way == "pipe":
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        assert done.stdout == b"first\nsecond\nthird\n"
        return
    with (tmp_path / "log").open(way) as log:
        log.seek(0, os.SEEK_END)
        number = (tmp_path / "log").stat().st_ino
        subprocess.run(command, env=environment, check=True, stdout=log)
    assert (tmp_path / "log").read_text() == "before\nfirst\nsecond\nthird\n"
    assert (tmp_path / "log").stat().st_ino == number
