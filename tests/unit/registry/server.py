"""A PostgreSQL server of our own, which may be stopped and started at will."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.unit.disks import NOBODY


def find_binaries():
    """The folder of `initdb`, or None."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    return Path(found).resolve().parent if found else None


class Server:
    """On a socket in a folder of its own; it runs from the start."""

    def __init__(self, binaries):
        self._binaries, self._folder = binaries, Path(tempfile.mkdtemp(prefix="autotune-pg-"))
        self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        if self._user:
            shutil.chown(self._folder, NOBODY)
        self._run("initdb", "-D", self._folder / "data", "-U", "tuner", "-A", "trust", "-E", "UTF8")
        self.start()

    @property
    def url(self):
        return f"postgresql://tuner@/postgres?host={self._folder}"

    def start(self):
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "-l", self._folder / "log", "-o", options, "start")

    def stop(self):
        """As when it is killed: no transaction is waited for, and what it had open is cut off."""
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "-m", "immediate", "stop")

    def restart(self):
        self.stop()
        self.start()

    def remove(self):
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, name, *words):
        command = [str(word) for word in (self._binaries / name, *words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._user)
