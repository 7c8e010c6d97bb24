"""SLURM's short form of host names: `node[01-03,7],login` is four hosts and one more."""

import re

_PART = re.compile(r"(?:[^,\[\]]|\[[^\[\]]*\])+")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand_nodelist(text: str) -> list[str]:
    """Host names in SLURM's order; several brackets in a name vary like digits, the last fastest.

    Raises:
        ValueError: `text` is not such a list.
    """
    parts = _PART.findall(text)
    if not parts or ",".join(parts) != text:
        raise _wrong(text)
    return [name for part in parts for name in _expand(part, text)]


def _expand(part: str, text: str) -> list[str]:
    bracket = _BRACKET.search(part)
    if bracket is None:
        return [part]
    before, after = part[: bracket.start()], _expand(part[bracket.end() :], text)
    numbers = [n for one in bracket[1].split(",") for n in _numbers(one, text)]
    return [before + number + rest for number in numbers for rest in after]


def _numbers(text_range: str, text: str) -> list[str]:
    match = _RANGE.fullmatch(text_range)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise _wrong(text)
    width = len(match[1])
    return [f"{n:0{width}d}" for n in range(int(match[1]), int(match[2] or match[1]) + 1)]


def _wrong(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not a list of hosts as SLURM writes it, such as node[01-03,7]; set "
        "MASTER_ADDR to the first host of the job."
    )
