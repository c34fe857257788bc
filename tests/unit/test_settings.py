import os
import re
from pathlib import Path

from autotune.settings import Settings


def test_the_data_directory_follows_the_xdg_specification():
    assert Settings.from_environment({"XDG_DATA_HOME": "/data"}).home == Path("/data/autotune")
    assert Settings.from_environment({}).home == Path("~/.local/share/autotune").expanduser()


def test_each_variable_is_read():
    settings = Settings.from_environment(
        {
            "AUTOTUNE_HOME": "/here",
            "AUTOTUNE_DATABASE": "postgresql+psycopg://db/tune",
            "AUTOTUNE_SNAPSHOT_PATH": os.pathsep.join(["/a", "/b"]),
            "AUTOTUNE_EXECUTOR": "inline",
            "AUTOTUNE_LOCK_FOLDER": "/shared",
        }
    )
    assert settings.lock_folder == Path("/shared")
    assert settings.home == Path("/here")
    assert settings.database == "postgresql+psycopg://db/tune"
    assert settings.snapshot_path == (Path("/a"), Path("/b"))
    assert settings.executor == "inline"


def test_the_database_is_in_the_data_directory_unless_named():
    settings = Settings.from_environment({"AUTOTUNE_HOME": "/here"})
    assert settings.database == "sqlite:////here/autotune.db"
    named = Settings.from_environment({"AUTOTUNE_HOME": "/here", "AUTOTUNE_DATABASE": "sqlite:////db"})
    assert named.database == "sqlite:////db"


def test_no_other_file_reads_the_environment_variables_of_autotune():
    root = Path(__file__).parents[2]
    readers = [
        path.relative_to(root).as_posix()
        for folder in ("autotune", "executors", "search_spaces")
        for path in (root / folder).rglob("*.py")
        if re.search(r"os\.environ|getenv", text := path.read_text()) and "AUTOTUNE_" in text
    ]
    assert readers == ["autotune/settings.py"]
