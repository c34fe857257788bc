"""Disks and users as they are in the field: a folder that may not be written, a disk that is full."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autotune.errors import UserError

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@contextlib.contextmanager
def shared_folder():
    """One that other users can enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="autotune-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in [folder, *folder.glob("**/")]:
            path.chmod(0o755)
        shutil.rmtree(folder)


def as_another_user(action):
    """The message of what the action raises for one who may do only what the permissions say; root may do anything."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            action()
            message = "nothing was raised"
        except UserError as error:
            message = str(error)
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        os.write(writable, message.encode())
        os._exit(0)
    os.close(writable)
    with open(readable) as pipe:
        message = pipe.read()
    os.waitpid(child, 0)
    return message


def on_a_small_disk(folder, program, size="128k"):
    """What the Python program prints while a file system of that size lies at `folder`; skips where that takes root."""
    mount = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs {folder} && exec "$0" "$@"']
    if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here: that needs root")
    command = [*mount, sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
