"""The rules that sound instances keep, and what breaks them, in words.

Shares of random draws are compared within five standard deviations of a binomial count, so sound
data fails about once in two million looks.
"""

from math import sqrt

from bert.data.masking import MaskingConfig
from bert.data.shards import ShardInfo
from bert.examine.config import ExamineConfig
from bert.examine.findings import Findings

_SIGMAS = 5.0
# Words and spans do not always add up to the number of predictions wanted.
_FEWEST_OF_WANTED = {"token": 0.98, "whole_word": 0.85, "span": 0.85}
_SLACK = 1e-3
_STORED_SHARE = (0.08, 0.25)  # stored masks of other systems: published 0.15, gpauloski 0.2


class ExamineError(ValueError):
    """Instances that break a rule."""


def statistics(found: Findings, info: ShardInfo) -> dict[str, float | None]:
    """Shares and means for the manifest and the page; None where there is nothing to divide."""
    targets = found.targets
    return {
        "mean_length": _share(found.tokens, found.instances),
        "padding_share_of_fixed_length": 1 - found.tokens / (found.instances * info.max_seq_length),
        "duplicate_share": _share(found.duplicates, found.instances),
        "unknown_share": _share(found.unknown_tokens, found.tokens),
        "random_next_share": _share(found.random_next, found.pairs),
        "target_share": _share(targets, found.tokens),
        "shown_mask_share": _share(found.shown_mask, targets),
        "shown_random_share": _share(found.shown_random, targets),
        "shown_same_share": _share(found.shown_same, targets),
    }


def target_shares(found: Findings) -> list[float]:
    """Share of the tokens in each tenth of an instance that are predicted; flat if all is well."""
    return [
        round(int(targets) / max(int(tokens), 1), 5)
        for targets, tokens in zip(found.targets_by_place, found.tokens_by_place, strict=True)
    ]


def broken_rules(
    found: Findings, info: ShardInfo, config: ExamineConfig, masking: MaskingConfig | None
) -> list[str]:
    """One sentence for each rule that the instances break; empty if they are sound.

    Args:
        found: Counts of the instances.
        info: What the shards state.
        config: Limits.
        masking: The section the masks were drawn by; None for stored masks, whose 80/10/10 is
            taken to be as published.
    """
    problems = [*_structure(found, info), *_targets(found, masking), *_shown(found, info, masking)]
    share = found.duplicates / found.instances
    if share > config.max_duplicate_share:
        problems.append(
            f"{found.duplicates} of {found.instances} instances stand there more than once "
            f"({share:.1%}); expected at most {config.max_duplicate_share:.1%}. Remove duplicate "
            "documents (filter), lower encode's dupe_factor, or raise examine.max_duplicate_share."
        )
    if found.pairs:
        rarer = min(found.random_next, found.pairs - found.random_next) / found.pairs
        if rarer < config.min_label_share:
            problems.append(
                f"the rarer sentence label has {rarer:.1%} of {found.pairs} pairs; expected at "
                f"least {config.min_label_share:.1%}. Check encode's random_next_prob, or lower "
                "examine.min_label_share."
            )
    return problems


def _structure(found: Findings, info: ShardInfo) -> list[str]:
    problems = []
    if found.misshapen:
        problems.append(
            f"{found.misshapen} of {found.instances} instances are not [CLS] A [SEP] or [CLS] A "
            "[SEP] B [SEP] of ordinary tokens; the shards or their vocabulary are wrong."
        )
    if found.special_targets:
        problems.append(
            f"{found.special_targets} of {found.targets} predicted tokens are special ones; "
            "expected none."
        )
    if found.lengths[:3].sum():
        problems.append(f"{found.lengths[:3].sum()} instances have fewer than 3 tokens.")
    return problems


def _targets(found: Findings, masking: MaskingConfig | None) -> list[str]:
    if masking is None:
        low, high = _STORED_SHARE
        share = found.targets / found.tokens
        if low <= share <= high:
            return []
        return [
            f"{share:.1%} of the tokens are predicted by the stored masks; expected {low:.0%} to "
            f"{high:.0%}."
        ]
    wanted = found.wanted_targets
    if _FEWEST_OF_WANTED[masking.unit] * wanted <= found.targets <= wanted:
        return []
    return [
        f"{found.targets} tokens are predicted where the masking section asks for {wanted}; "
        "instances hold too few ordinary tokens, or masking.max_predictions does not fit."
    ]


def _shown(found: Findings, info: ShardInfo, masking: MaskingConfig | None) -> list[str]:
    mask, random, longest = 0.8, 0.1, 1
    if masking is not None:
        mask, random = masking.mask_token_share, masking.random_token_share
        # A span is replaced as one, so its tokens are not independent draws.
        longest = 1 if masking.span is None else masking.span.max_words
    # A random token is the original one by chance.
    other = random * (1 - 1 / (info.vocab_size - len(info.special_ids)))
    problems = []
    for name, count, share in (
        ("[MASK]", found.shown_mask, mask),
        ("another token", found.shown_random, other),
        ("themselves", found.shown_same, 1 - mask - other),
    ):
        draws = max(found.targets / longest, 1)
        allowed = _SIGMAS * sqrt(max(share * (1 - share), 0) / draws) + _SLACK
        if abs(count / max(found.targets, 1) - share) > allowed:
            problems.append(
                f"{count / max(found.targets, 1):.1%} of {found.targets} predicted tokens are "
                f"shown as {name}; expected {share:.1%} within {allowed:.1%}."
            )
    return problems


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
