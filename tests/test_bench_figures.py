"""Groups, figures and tables of benchmarks/training."""

import pytest

from bert.manifest import ROOT
from tests.bench import (
    KNOWN,
    TINY,
    cases,
    figures,
    groups,
    page,
    run,
    steps,
    variants,
)


def test_all_variants_run_together_where_memory_allows():
    all_ = list(KNOWN.values())

    assert groups.make_groups(TINY, all_, 1e12) == [all_]


@pytest.mark.parametrize("gigabytes", [20, 24, 28])
def test_where_memory_is_short_each_way_of_ours_still_meets_every_peer(gigabytes):
    case, all_ = cases.choose_cases(["large-512"], full=False, cuda=False)[0], list(KNOWN.values())
    found = groups.make_groups(case, all_, gigabytes * 1e9)
    met = {(a.name, b.name) for group in found for a in group for b in group}

    assert len(found) > 1
    assert {(own.name, one.name) for own in variants.OWN for one in variants.PEERS} <= met
    assert all(groups.needed_bytes(case, group, cuda=False) <= gigabytes * 1e9 for group in found)


def test_a_way_of_ours_that_fits_beside_no_peer_is_left_out():
    case, all_ = cases.FULL_CASES[0], list(KNOWN.values())
    peer_and = {
        one.name: groups.needed_bytes(case, [variants.PEERS[2], one], cuda=False)
        for one in variants.OWN
    }

    found = groups.make_groups(case, all_, (peer_and["native-lamb"] + peer_and["torch"]) / 2)

    assert {one.name for group in found for one in group if one.own} >= {"native", "native-lamb"}
    assert not any(one.name.startswith("torch") for group in found for one in group)


def test_a_case_for_which_no_pair_fits_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"large24-128 needs some \d+ GB .* and 1 GB are free"):
        groups.make_groups(cases.FULL_CASES[0], list(KNOWN.values()), 1e9)


def test_mfu_is_useful_flops_a_second_over_the_mean_of_the_probes_around_the_step():
    (step,) = steps(2.0, flops=3e12, probes=[4e12, 2e12])

    assert figures.mfu(step) == 0.5


def test_a_ratio_is_the_median_of_the_rounds_not_a_ratio_of_medians():
    group = {"own": run(1.0, 2.0, 4.0), "peer": run(3.0, 2.0, 8.0)}

    assert figures.ratios("own", [group]) == {"peer": {"median": 2.0, "least": 1.0, "most": 3.0}}


def test_ratios_are_taken_within_groups_only():
    found = [{"a": run(1.0), "b": run(2.0)}, {"a": run(100.0), "c": run(300.0)}]

    assert {name: one["median"] for name, one in figures.ratios("a", found).items()} == {
        "b": 2.0,
        "c": 3.0,
    }
    assert figures.ratios("b", found).keys() == {"a"}


def test_a_row_counts_real_tokens_and_takes_medians_over_all_groups():
    around = {"loading_s": 0.02, "logging_s": 0.01}
    found = [
        {"own": run(1.0, 2.0, around=around, flops=2e9, optimizer_s=0.2)},
        {"own": run(4.0, flops=2e9, optimizer_s=0.2, peak_mb=700.0)},
    ]

    row = figures.row("own", found, peak_flops=1e10)

    assert (row["step_s"], row["best_step_s"]) == (2.0, 1.0)
    assert (row["tokens_per_s"], row["sequences_per_s"]) == (5.0, 1.0)
    assert (row["mfu"], row["mfu_of_peak"]) == (1.0, 0.1)
    assert (row["optimizer_share"], row["loading_share"]) == (0.1, 0.01)
    assert row["logging_share"] == 0.005
    assert (row["peak_mb"], row["above_import_mb"]) == (700.0, 500.0)


@pytest.mark.parametrize("other", [12.0, float("nan")])
def test_variants_that_start_from_another_loss_are_refused(other):
    figures.check_losses({"a": {"first_loss": 11.0}, "b": {"first_loss": 11.2}})

    with pytest.raises(ValueError, match="One of them trains something else"):
        figures.check_losses({"a": {"first_loss": 11.0}, "b": {"first_loss": other}})


def result():
    found = [{"eager": run(4.0, 6.0), "native": run(2.0, 2.0, around={"loading_s": 0.01,
              "logging_s": 0.002})}]  # fmt: skip
    rows = {
        name: {"label": KNOWN[name].label} | figures.row(name, found)
        for name in ("eager", "native")
    }
    return {
        "date": "2026-11-01",
        "machine": {
            "device": {"name": "A CPU", "device": "cpu"},
            "transformers": "5.0", "tcmalloc": None,
        },
        "settings": {"rounds": 2, "warm_up": 1},
        "cases": [
            cases.CPU_CASES[1]._asdict()
            | {"padding_share": 0.4717, "rows": rows, "groups": [["eager", "native"]],
               "left_out": ["native, padded"]}
        ],
    }  # fmt: skip


def test_the_page_gets_its_figures_between_the_marks_and_keeps_its_prose(tmp_path):
    file = tmp_path / "speed.md"
    file.write_text(f"# Speed\n\nBefore.\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n")

    page.write_page(file, [result()])
    once = file.read_text()
    page.write_page(file, [result()])

    assert file.read_text() == once
    assert once.startswith(f"# Speed\n\nBefore.\n\n{page.BEGIN}\n")
    assert once.endswith(f"{page.END}\n\nAfter.\n")
    assert "old" not in once
    assert "47.2% padding" in once
    assert "Memory is too short for: native, padded." in once
    assert "libtcmalloc_minimal is not installed here" in once
    assert (
        "| native, unpadded | 5 | 1 | 2 (2) | 50% | 5.0% | 500 (300) | **2.50** (2.00 to 3.00) |"
        in once
    )
    assert "loading takes at most 0.50%, logging 0.10%" in once


def test_a_page_without_marks_is_refused(tmp_path):
    file = tmp_path / "speed.md"
    file.write_text(page.BEGIN)

    with pytest.raises(ValueError, match="must hold the lines"):
        page.write_page(file, [result()])


def test_the_page_of_the_project_has_its_marks():
    text = (ROOT / "docs" / "speed.md").read_text()

    assert (text.count(page.BEGIN), text.count(page.END)) == (1, 1)
