"""The errors that autotune raises. A failing trial raises none of them: it is a value, `measurement.Failure`.

AutotuneError
├── UserError            something to mend: the message says what was found, what was expected, what to do next
│   ├── WorkloadError    a workload file, its declaration, or the problem that was asked for
│   │   └── WorkloadChanged  its source is no longer the version that a study is about
│   ├── SpaceError       a search space, a parameter, a constraint, a configuration
│   ├── DeviceError      no such device, or it cannot be used
│   ├── SnapshotError    a snapshot that cannot be read or written
│   ├── RecordingError   a recorded search space that cannot be read
│   └── RegistryError    the database: unreachable, from a newer version, read-only, full, in use
├── NoTunedConfig        best_config found nothing; the message says how to tune it (also a LookupError)
└── ExecutorError        the executor itself is broken, whatever the trial
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutotuneError(Exception):
    """The root of all errors of this package."""


class UserError(AutotuneError):
    """A mistake that its reader can mend; the command line prints it without a traceback and exits with 2."""


class WorkloadError(UserError):
    """A workload file, its declaration, or the problem asked for."""


class WorkloadChanged(WorkloadError):
    """The file of a workload is no longer the version that is asked for."""


class SpaceError(UserError):
    """A search space, a parameter, a constraint, or a configuration."""


class DeviceError(UserError):
    """A device that is not there or cannot be used."""


class SnapshotError(UserError):
    """A snapshot file that cannot be read or written."""


class RecordingError(UserError):
    """A recorded search space that cannot be read."""


class RegistryError(UserError):
    """The database of studies and winners cannot be used."""


class NoTunedConfig(AutotuneError, LookupError):
    """No tuned configuration is known for the problem on this device."""


class ExecutorError(AutotuneError):
    """The executor itself is broken; no trial can run on it."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """A clause that names the nearest of `options`, or lists them all where none is near."""
    known = sorted(set(options))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(known)}." if known else "there are none."
