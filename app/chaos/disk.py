"""A small disk that can be full: a tmpfs, whose size changes while it is used."""

import os
import shutil
import subprocess
from pathlib import Path

from app.stack import StackError

_SIZE = 4 << 30  # what is not written takes no memory
_MOUNT_S = 20.0


class Disk:
    """The disk mounted over a folder, which keeps what it had."""

    def __init__(self, folder: Path, size: int = _SIZE) -> None:
        """``folder`` exists; nothing is mounted yet. ``size`` is in bytes."""
        self.folder = folder
        self._room = f"size={size}"

    def mount(self) -> str | None:
        """Mount it; return None, or why that is not possible here (then nothing has changed)."""
        if os.geteuid() != 0:
            return "only root can mount the disk that is to be full"
        program = shutil.which("mount")
        if program is None:
            return "there is no mount program"
        before = self.folder.with_name(self.folder.name + ".before")
        self.folder.rename(before)
        self.folder.mkdir()
        failed = _run(program, "-t", "tmpfs", "-o", self._room, "tmpfs", str(self.folder))
        for entry in before.iterdir():
            shutil.move(entry, self.folder)
        before.rmdir()
        return failed and f"a disk cannot be mounted: {failed}"

    def unmount(self) -> None:
        """Unmount it, and forget what is on it; nothing happens when it is not mounted."""
        if self.folder.is_mount():
            _demand("umount", "--lazy", str(self.folder))

    def fill(self) -> None:
        """Leave no byte free. Raises StackError."""
        # The kernel refuses a size below what is used, which may grow at any moment.
        for _ in range(10):
            room = os.statvfs(self.folder)
            used = (room.f_blocks - room.f_bfree) * room.f_frsize
            if not _resize(self.folder, f"size={used}"):
                return
        raise StackError(f"{self.folder} cannot be made full: it is written too fast")

    def free(self) -> None:
        """Give the space back. Raises StackError."""
        failed = _resize(self.folder, self._room)
        if failed:
            raise StackError(f"{self.folder} cannot be made larger: {failed}")


def _resize(folder: Path, size: str) -> str | None:
    return _run(shutil.which("mount") or "mount", "-o", f"remount,{size}", str(folder))


def _demand(program: str, *words: str) -> None:
    failed = _run(shutil.which(program) or program, *words)
    if failed:
        raise StackError(f"{program} failed: {failed}")


def _run(program: str, *words: str) -> str | None:
    try:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=_MOUNT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or "no reason given"
