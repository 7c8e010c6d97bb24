"""Model cards: README.md of an exported folder, Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bert.data.vocab import Vocabulary
from bert.model.config import ModelConfig


def write_card(path: Path, *, pipeline: str, title: str, parts: Sequence[str]) -> None:
    """Writes a card.

    Args:
        path: README.md of the folder.
        pipeline: The task as transformers names it.
        title: Heading.
        parts: Markdown blocks, in their order.
    """
    head = f"---\nlibrary_name: transformers\npipeline_tag: {pipeline}\ntags:\n- bert\n---\n"
    blocks = [head, f"# {title}\n", *(f"{part.strip()}\n" for part in parts)]
    path.write_text("\n".join(blocks), "utf-8")


def shape_table(config: ModelConfig, vocabulary: Vocabulary, parameters: int) -> str:
    """The network in a few rows.

    Args:
        config: Shape of the network.
        vocabulary: Vocabulary.
        parameters: Numbers in the weights file.
    """
    rows = {
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "attention heads": config.num_attention_heads,
        "feed-forward width": config.intermediate_size,
        "longest sequence in tokens": config.max_position_embeddings,
        "vocabulary in tokens": vocabulary.size,
        "lowercase": "yes" if vocabulary.lowercase else "no",
        "parameters": f"{parameters:,}",
    }
    return table(("", ""), [(name, str(value)) for name, value in rows.items()])


def provenance(inputs: Mapping[str, str], commit: str | None) -> str:
    """Commit of the code and sha256 of every input."""
    rows = [(name, f"`{digest}`") for name, digest in sorted(inputs.items())]
    code = f"`{commit}`" if commit else "none (not in a repository)"
    return f"Code of commit {code}.\n\n{table(('input', 'sha256'), rows)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in line)}|" for line in lines
    )
