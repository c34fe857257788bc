"""What a database's faults mean to their reader: each becomes one RegistryError; no password is ever in its message."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from autotune.errors import RegistryError

ELSEWHERE = "give another with --database or AUTOTUNE_DATABASE, or --home or AUTOTUNE_HOME"
_LONGEST = 300
_RESUMES = "the same command resumes the study"

_SQLITE = {
    "SQLITE_FULL": f"the disk of {{where}} is full; free some space, and {_RESUMES}.",
    "SQLITE_IOERR": f"{{where}} cannot be read or written ({{what}}), its disk may be full; after that, {_RESUMES}.",
    "SQLITE_BUSY": f"{{where}} has been in use by another process for too long; when that has ended, {_RESUMES}.",
    "SQLITE_LOCKED": f"{{where}} has been in use by another process for too long; when that has ended, {_RESUMES}.",
    "SQLITE_READONLY": f"{{where}} is read-only for this user; make the file and its folder writable, or {ELSEWHERE}.",
    "SQLITE_CANTOPEN": f"{{where}} cannot be opened; make its folder writable for this user, or {ELSEWHERE}.",
    "SQLITE_NOTADB": f"{{where}} is not a SQLite database; move it away, or {ELSEWHERE}.",
    "SQLITE_CORRUPT": "{where} is damaged ({what}); restore it, or move it away and `autotune import` the snapshots.",
}
# By the first characters of the SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL = {
    "53100": f"the disk of {{where}} is full; free some space there, and {_RESUMES}.",
    "53300": f"{{where}} takes no more connections; when some have ended, {_RESUMES}.",
    "25006": "{where} is read-only, a standby perhaps; give the primary's URL.",
    "42501": "{where} does not permit it: {what}; grant this user the rights to create and write tables.",
    "3F": "{where} does not permit it: {what}; grant this user the rights to create and write tables.",
    "28": "{where} refuses this user: {what}; mend the user or the password in the URL.",
    "3D": "{where} is not there: {what}; create it with `createdb`.",
    "40": f"{{where}} is too busy ({{what}}); {_RESUMES}.",
    "57": f"{{where}} shut down ({{what}}); when it is back, {_RESUMES}.",
}

# What may pass by itself: a connection lost or refused, a shutdown, too many connections, a standby that is about to
# take over; and what another transaction was in the way of. Not what is wrong with the entry, the rights or the disk.
_PASSES = ("08", "57P", "53300", "25006")
_CONTENTION = ("40001", "40P01", "55P03", "SQLITE_BUSY_SNAPSHOT")
_PASSES_ON_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED")


class PassingFault(RegistryError):
    """The database cannot be used now, and may be later."""

    def __init__(self, sentence: str, *, what: str, contention: bool) -> None:
        super().__init__(sentence)
        self.what = what
        """In a few words."""
        self.contention = contention
        """Another transaction was first; the database itself is there."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise RegistryError for whatever SQLAlchemy, or a driver that is not installed, raises inside."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"{where} needs {error.name}; pip install 'gpu-autotune[postgres]', and begin the URL with postgresql://."
        ) from error
    except NoSuchModuleError as error:
        raise RegistryError(
            f"{where} names no driver that is here ({error}); leave out the + and the driver."
        ) from error
    except IntegrityError:  # for the caller to say what it was about
        raise
    except DBAPIError as error:
        raise _fault(where, error) from error
    except sqlite3.Error as error:  # from what we say to the driver itself
        raise RegistryError(_sentence(where, error)) from error
    except SQLAlchemyError as error:
        raise RegistryError(f"{where} cannot be used: {error}.") from error


def make_folder(folder: Path) -> None:
    """Create the folder of a database; RegistryError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RegistryError(f"the folder {folder} cannot be made ({error.strerror}); {ELSEWHERE}.") from error


def _fault(where: str, error: DBAPIError) -> RegistryError:
    code, sentence = _code(error.orig), _sentence(where, error.orig)
    if isinstance(error.orig, sqlite3.Error):
        passes = code.startswith(_PASSES_ON_SQLITE)
    else:  # what says that a connection is gone carries no code: no server was there to give one
        unanswered = not code and isinstance(error, OperationalError | InterfaceError)
        passes = unanswered or error.connection_invalidated or code.startswith((*_PASSES, *_CONTENTION))
    if not passes:
        return RegistryError(sentence)
    return PassingFault(sentence, what=_what(error.orig), contention=code.startswith(_CONTENTION))


def _code(error: BaseException | None) -> str:
    """SQLite's name of the error, or the SQLSTATE; empty where it has none."""
    name = "sqlite_errorname" if isinstance(error, sqlite3.Error) else "sqlstate"
    return getattr(error, name, None) or ""


def _what(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:_LONGEST].rstrip(".")


def _sentence(where: str, error: BaseException | None) -> str:
    table = _SQLITE if isinstance(error, sqlite3.Error) else _POSTGRESQL
    code = _code(error)
    known = [template for prefix, template in table.items() if code.startswith(prefix)]
    template = known[0] if known else "{where} cannot be used: {what}."
    return template.format(where=where, what=_what(error))
