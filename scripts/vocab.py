"""vocab: checks a given vocabulary, or trains one on the text parts, and measures how it fits.

Out: the vocabulary's files (see `bert.data.vocab`), coverage.json (see `bert.data.coverage`) and
the manifest.
"""

import argparse
from pathlib import Path

from bert import log
from bert.data.coverage import coverage
from bert.data.tokenise import Tokeniser
from bert.data.train_bytelevel import train_byte_level
from bert.data.train_wordpiece import train_wordpiece
from bert.data.vocab import (
    GIVEN_FILES,
    Lexicon,
    load_vocabulary,
    read_given,
    warn_of_case,
    write_vocabulary,
)
from bert.data.vocab_config import GivenVocab, WordPieceVocab, load_vocab_config
from bert.fetch.fetched import fetched_files
from bert.manifest import atomic_directory, write_json, write_manifest
from bert.text.archive_item import open_item
from bert.text.extracted import load_sources
from bert.text.split import training_parts


def main() -> None:
    """Command line of the stage."""
    args = parse_args()
    log.setup(args.log)
    config = load_vocab_config(args.config)
    needed = "given" if isinstance(config, GivenVocab) else "split"
    if vars(args)[needed] is None:
        raise ValueError(f"vocab.kind is {config.kind}; expected --{needed} on the command line.")
    counts: dict[str, int] = {}
    if isinstance(config, GivenVocab):
        with open_item(fetched_files(args.given), args.output, GIVEN_FILES) as item:
            lexicon, files = read_given(item.files)
            inputs = item.digests(files)
    else:
        parts = training_parts(args.split)
        texts = [path for path, _ in parts]
        inputs = {path.name: sha256 for path, sha256 in parts}
        if isinstance(config, WordPieceVocab):
            tokens, counts = train_wordpiece(texts, config)
            lexicon = Lexicon(tokens)
        else:
            tokens, merges, counts = train_byte_level(texts, config)
            lexicon = Lexicon(tokens, merges)
    warn_of_case(lexicon, config.lowercase)
    sources = load_sources(args.extract) if args.extract else []  # given shards need no text
    for source in sources:
        inputs |= source.digests
    with atomic_directory(args.output) as folder:
        outputs = write_vocabulary(folder, lexicon.tokens, config.lowercase, lexicon.merges)
        vocabulary = load_vocabulary(folder)
        found = coverage(
            {source.name: source.path for source in sources},
            Tokeniser(folder),
            vocabulary,
            config.coverage_megabytes,
        )
        write_json(folder / "coverage.json", found)
        write_manifest(
            folder / "manifest.json",
            stage="vocab",
            config=config.model_dump(),
            inputs=inputs,
            counts={
                "tokens": vocabulary.size,
                "continuations": int(vocabulary.is_continuation.sum()),
                **counts,
            },
            outputs=[*outputs, folder / "coverage.json"],
            statistics={"coverage": found},
        )


def parse_args() -> argparse.Namespace:
    """Paths; a given vocabulary needs the raw item, a trained one the split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config/vocab.json")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--given", type=Path, help="manifest fetch/<raw>.json, for kind `given`")
    source.add_argument("--split", type=Path, help="manifest split/manifest.json, otherwise")
    parser.add_argument(
        "--extract", type=Path, nargs="*", required=True, help="extract/<source>/manifest.json"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--log", type=Path, help="log file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
