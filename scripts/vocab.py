"""vocab: checks a given vocabulary, or trains one on the text parts."""

import argparse
from pathlib import Path

from bert import log
from bert.data.vocab import (
    GivenVocab,
    choose_vocab_file,
    is_continuation,
    load_vocab_config,
    parse_tokens,
    warn_of_case,
    write_vocabulary,
)
from bert.data.wordpiece import train_wordpiece
from bert.fetch import fetched_files
from bert.manifest import atomic_directory, sha256_file, write_manifest
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
        file = choose_vocab_file(fetched_files(args.given))
        tokens = parse_tokens(file.read_bytes(), str(file))
        inputs = {"vocab.txt": sha256_file(file)}
    else:
        parts = training_parts(args.split)
        tokens, counts = train_wordpiece([path for path, _ in parts], config)
        inputs = {path.name: sha256 for path, sha256 in parts}
    warn_of_case(tokens, config.lowercase)
    with atomic_directory(args.output) as folder:
        write_manifest(
            folder / "manifest.json",
            stage="vocab",
            config=config.model_dump(),
            inputs=inputs,
            counts={
                "tokens": len(tokens),
                "continuations": sum(map(is_continuation, tokens)),
                **counts,
            },
            outputs=write_vocabulary(folder, tokens, config.lowercase),
        )


def parse_args() -> argparse.Namespace:
    """Paths; a given vocabulary needs the raw item, a trained one the split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config/vocab.json")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--given", type=Path, help="manifest fetch/<raw>.json, for kind `given`")
    source.add_argument("--split", type=Path, help="manifest split/manifest.json, otherwise")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--log", type=Path, help="log file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
