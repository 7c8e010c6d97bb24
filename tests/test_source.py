from pathlib import Path

import pytest

from bert.config import ConfigError, check
from bert.text.source import SourceConfig, relative_names

CONFIG = {"raw": "books", "pattern": "*.txt", "licence": "CC0-1.0"}


def test_names_do_not_depend_on_where_the_folder_lies():
    for folder in ("a", "b/c"):
        files = [Path(folder, name) for name in ("x/1.txt", "x/y/2.txt", "3.txt")]
        assert relative_names(files) == ["x/1.txt", "x/y/2.txt", "3.txt"]
        assert relative_names(files[:2]) == ["1.txt", "y/2.txt"]
        assert relative_names(files[:1]) == ["1.txt"]
    assert relative_names([]) == []


@pytest.mark.parametrize("key", CONFIG)
def test_every_source_names_its_files_and_its_licence(key):
    assert check(SourceConfig, CONFIG, where="a test").licence == "CC0-1.0"
    with pytest.raises(ConfigError, match=f"{key} is"):
        check(SourceConfig, CONFIG | {key: ""}, where="a test")
    with pytest.raises(ConfigError, match=f"{key} is missing"):
        check(SourceConfig, {k: v for k, v in CONFIG.items() if k != key}, where="a test")
