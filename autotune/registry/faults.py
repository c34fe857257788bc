"""What a database's faults mean to their reader: each becomes one RegistryError; no password is ever in its message."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

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
        raise RegistryError(_sentence(where, error.orig)) from error
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


def _sentence(where: str, error: BaseException | None) -> str:
    what = " ".join(str(error).split())[:_LONGEST].rstrip(".")
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", None) or ""
        table = _SQLITE
    else:
        name = getattr(error, "sqlstate", None) or ""
        table = _POSTGRESQL
    known = [template for code, template in table.items() if name.startswith(code)]
    template = known[0] if known else "{where} cannot be used: {what}."
    return template.format(where=where, what=what)
