"""Whether imported weights are of the run's vocabulary, as far as their files tell."""

import logging
from collections.abc import Sequence
from pathlib import Path

from bert.convert.found import Found, WeightsError
from bert.data.vocab import VOCABULARY_FILES, Vocabulary, read_given

logger = logging.getLogger(__name__)


def check_vocabulary(files: Sequence[Path], found: Found, vocabulary: Vocabulary) -> None:
    """Compares the vocabulary beside the weights, or the digest in their checkpoint.

    Args:
        files: All files of the raw item.
        found: The weights among them.
        vocabulary: The run's.

    Raises:
        WeightsError: It is another one.
        VocabError: The file beside the weights is damaged.
    """
    digest = found.facts.get("vocabulary_sha256")
    if digest is not None:
        if digest != vocabulary.sha256:
            raise WeightsError(
                f"The {found.layout} was trained with the vocabulary {digest}, the run has "
                f"{vocabulary.sha256}. Give that vocabulary in the `vocab` section."
            )
        return
    folder = found.files[0].parent
    for names in VOCABULARY_FILES.values():
        beside = [folder / name for name in names if folder / name in files]
        if len(beside) == len(names):
            break
    else:
        logger.warning(
            "no vocabulary lies with the %s: only the number of its tokens is compared",
            found.layout,
        )
        return
    tokens = read_given(beside)[0].tokens
    if tuple(tokens) != vocabulary.tokens:
        raise WeightsError(
            f"{beside[0]} with {len(tokens)} tokens is not the vocabulary of the run, which has "
            f"{vocabulary.size}. Give it in the `vocab` section (kind: given)."
        )
