"""What sections must agree on about names, splits and seeds."""

import pytest

from bert.config import ConfigError
from tests.test_recipe import CONFIG, check_with

SQUAD = CONFIG["finetune"]["squad"]
CONLL = {
    "format": "conll", "word_column": 0, "tag_column": 3, "scheme": "bio", "types": ["PER"],
    "max_seq_length": 128,
}  # fmt: skip


@pytest.mark.parametrize("name", ["my task", "a/b", "a.task", "c++", "-a", "", "../a", "a\n"])
def test_a_task_is_named_so_that_it_can_be_a_folder_and_a_word_of_a_command(name):
    with pytest.raises(ConfigError, match=r"finetune has the name .*expected letters, digits"):
        check_with(finetune={name: SQUAD})


@pytest.mark.parametrize("name", ["squad2", "sst-2", "my_task", "2"])
def test_letters_digits_dashes_and_underscores_are_names(name):
    assert name in check_with(finetune={name: SQUAD}).tasks


def test_names_of_items_are_checked_alike():
    with pytest.raises(ConfigError, match=r"fetch has the name 'enwiki\.2024'"):
        check_with(fetch={"enwiki.2024": [{"location": "x"}]})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("squad", {"train": "squad_dev"}),
        ("ner", SQUAD | {"train": "squad_dev", "task": CONLL}),
        ("mrpc", {"task": {"layout": "glue"}}),
    ],
    ids=["squad", "conll", "mrpc in the layout glue"],
)
def test_files_that_do_not_say_their_split_are_not_trained_on_and_scored(name, changes):
    with pytest.raises(ConfigError, match=f"{name}.train and finetune.{name}.dev are both"):
        check_with(finetune={name: changes})


def test_files_that_say_their_split_may_be_one_item():
    tasks = check_with().tasks

    assert tasks["mrpc"].task.layout == "microsoft"
    assert tasks["mrpc"].train == tasks["mrpc"].dev


def test_a_seed_below_0_is_refused():
    with pytest.raises(ConfigError, match=r"seeds.1 is -1; it must be greater than or equal to 0"):
        check_with(finetune={"squad": {"seeds": [0, -1]}})
