"""Directories that appear, are replaced and disappear in one step, see `files`."""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from charlm.storage import files


def write_directory_atomic(
    path: Path, contents: Mapping[str, bytes], *, replace: bool = False
) -> None:
    """Write a directory with exactly these files, atomically.

    Args:
        path: Directory.
        contents: Name, or path with slashes, of a file in the directory -> content.
        replace: Whether a directory of this name is replaced.

    Raises:
        OutputExistsError: It exists, also if it appeared while the files were written.
    """
    temporary, replaced = files.temporary_path(path), files.temporary_path(path)
    with files.translate_os_errors("write", path, sum(map(len, contents.values()))):
        try:
            os.mkdir(temporary)
            directories = {temporary}
            for name, data in contents.items():
                file = temporary / name
                file.parent.mkdir(parents=True, exist_ok=True)
                files.create_file(file, data)
                directories |= {parent for parent in file.parents if temporary in parent.parents}
            for directory in directories:
                files.sync_directory(directory)
            if replace and path.exists():
                os.rename(path, replaced)
            _rename_new_directory(temporary, path)
            try:
                files.sync_directory(path.parent)
            except BaseException:
                _take_back(path, temporary, is_kept=replaced.exists())
                raise
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            _put_back(replaced, path)
            raise
        if replaced.exists():  # only now, since the new one is on the disk
            shutil.rmtree(replaced)


def _take_back(path: Path, temporary: Path, *, is_kept: bool) -> None:
    """Take the name of a new directory away again, so that the same command can be run again.

    A disk that allows no rename may still allow to remove. Then it is removed, unless it is kept:
    it is whole, and what it replaces cannot be renamed, either.
    """
    try:
        os.rename(path, temporary)
    except OSError:
        if not is_kept:
            shutil.rmtree(path, ignore_errors=True)


def _put_back(replaced: Path, path: Path) -> None:
    """Give a directory that was to be replaced its name again.

    Where that fails, too, it is removed, as what a killed writer has left is.
    """
    if replaced.exists():
        try:
            os.rename(replaced, path)
        except OSError:
            shutil.rmtree(replaced, ignore_errors=True)


def _rename_new_directory(temporary: Path, path: Path) -> None:
    """Rename a directory; the system itself refuses to replace a file or a full directory."""
    if os.path.lexists(path):
        raise files.exists_error(path)
    try:
        os.rename(temporary, path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise files.exists_error(path) from error
        raise


def remove(path: Path) -> None:
    """Remove a directory: rename it first, so that it disappears in one step."""
    with files.translate_os_errors("remove", path):
        hidden = path
        if not path.name.startswith(files.TEMP_PREFIX):
            hidden = files.temporary_path(path)
            os.rename(path, hidden)
        try:
            if hidden != path:
                files.sync_directory(path.parent)  # a power cut leaves no half of it under its name
        finally:
            shutil.rmtree(hidden)
