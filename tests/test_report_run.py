import hashlib
import json
import shutil
from pathlib import Path

import pytest

from bert.manifest import ManifestError
from bert.report.run import LAYOUT, RunError, read_run, total, training_jobs

# Stages that the made-up run does not have.
ABSENT = {"fetch", "convert", "features"}
SQUAD_F1 = {1: 60.0, 2: 61.0, 3: 63.0}


def write_receipt(path: Path, stage: str, counts: dict, **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    receipt = {
        "format": "bert-manifest",
        "version": 1,
        "stage": stage,
        "config": {"seed": 7},
        "code": "c0de" * 16,
        "git_commit": "91f0" * 10,
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "inputs": {"input.txt": "1a" * 32},
        "counts": counts,
        "outputs": {"output.bin": {"sha256": "0b" * 32, "bytes": 2000}},
    }
    path.write_text(json.dumps(receipt | more), "utf-8")


def write_phase(run: Path, phase: str, *, instances: int, length: int) -> None:
    half = instances // 2
    statistics = {
        "length_histogram": {str(length // 2): half // 4, str(length): half - half // 4},
        "random_next_share": 0.5,
        "mean_length": 0.75 * length,
    }
    for job, n, documents in (("0", half, 45), ("1", half, 45), ("held_out", 20, 10)):
        counts = {"documents": documents, "instances": n, "tokens": n * 96}
        more = {"statistics": statistics, "config": {"max_seq_length": length}}
        write_receipt(run / f"encode/{phase}/{job}.json", "encode", counts, **more)
    counts = {"shards": 4, "instances": half, "tokens": half * 96, "phase_instances": 2 * half}
    for job in ("0", "1"):
        write_receipt(run / f"shard/{phase}/{job}.json", "shard", counts)
    counts = {"steps": 20, "sequences": 3 * instances, "tokens": 40_000, "masked_tokens": 6_000}
    write_receipt(
        run / f"pretrain/{phase}/manifest.json",
        "pretrain",
        counts | {"parameters": 4_390_144},
        device={"name": "Some CPU", "threads": 2},
    )
    shares = {"duplicate_share": 0.01, "unknown_share": 0.002, "target_share": 0.15}
    shares |= {"shown_mask_share": 0.8, "shown_random_share": 0.1, "shown_same_share": 0.1}
    more = {"random_next_share": 0.5, "target_share_by_place": [0.15] * 10}
    write_receipt(
        run / f"examine/{phase}/manifest.json",
        "examine",
        {"instances": 40, "tokens": 3000, "targets": 450, "duplicates": 0},
        statistics=shares | more,
    )
    lines = [
        {"kind": "train", "step": step, "mlm_loss": 8 - step / 5, "nsp_loss": 0.7 - step / 50}
        | {"learning_rate": 0.006 * step / 20, "gradient_norm": 1.5, "tokens_per_s": 5000.0}
        | {"mfu": 0.4}
        for step in range(2, 21, 2)
    ]
    held_out = {"mlm_loss": 4.25, "mlm_accuracy": 0.3125, "nsp_loss": 0.5, "nsp_accuracy": 0.875}
    lines += [{"kind": "evaluate", "step": step} | held_out for step in (10, 20)]
    (run / f"pretrain/{phase}/metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), "utf-8"
    )
    evaluated = {"instances": 20}
    write_receipt(run / f"evaluate/{phase}/manifest.json", "evaluate", evaluated, metrics=held_out)


HEADLINES = {"squad": "f1", "squad2": "f1", "cola": "matthews", "stsb": "spearman"}
HEADLINES |= {"mnli": "accuracy_matched", "conll": "f1"}


def write_score(
    run: Path, task: str, start: str, seed: int, metrics: dict, *, rate=2e-5, grid=False, **config
) -> None:
    """Receipts of finetune and score; with `grid` the rate stands in the name of the trial."""
    trial = f"rate-{rate:g}.seed-{seed}" if grid else f"seed-{seed}"
    job = f"{task}/{start}/{trial}"
    counts = {"examples": 300, "features": 310, "steps": 40}
    told = {"config": {"learning_rate": rate, "early_stopping": None} | config}
    predictions = hashlib.sha256(f"{job} {metrics}".encode()).hexdigest()
    told["outputs"] = {"predictions.json": {"sha256": predictions, "bytes": 2000}}
    write_receipt(run / f"finetune/{job}/manifest.json", "finetune", counts, **told)
    place = {"task": task, "start": start, "trial": trial, "seed": seed}
    place |= {"headline": HEADLINES.get(task, "accuracy")}
    more = place | {"metrics": metrics, "baseline": dict.fromkeys(metrics, 9.75)}
    more["inputs"] = {"predictions": predictions}
    write_receipt(run / f"score/{job}/metrics.json", "score", {"questions": 100}, **more)


def write_benchmark(file: Path, *rows: tuple[str, str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["s\th:m:s\tmax_rss\tmean_load\tcpu_time"]
    lines += [f"{s}\t0:00:01\t{rss}\t98.0\t{cpu}" for s, rss, cpu in rows]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def write_quality(run: Path) -> None:
    """The receipts of filter and split."""
    kept = {"documents": 70, "kept": 65, "skipped_exact_duplicates": 1}
    sources = {
        "wikipedia": kept | {"skipped_near_duplicates": 4},
        "books": {"documents": 30, "kept": 30, "skipped_exact_duplicates": 0},
    }
    squad = {"texts": 50, "short_texts": 10, "touched_texts": 20, "whole_texts": 5}
    squad |= {"ngrams": 400, "found_ngrams": 90, "touching_documents": 7}
    config = {
        "exact_duplicates": True,
        "near_duplicates": {"threshold": 0.8, "ngram": 5},
        "contamination": {"ngram": 13, "shortest": 8, "drop_share": None},
    }
    more = {"config": config, "sources": sources, "contamination": {"squad": squad}}
    counts = {"documents": 100, "kept": 95, "skipped_exact_duplicates": 1}
    counts |= {"skipped_near_duplicates": 4, "documents_with_task_text": 7}
    write_receipt(run / "filter/manifest.json", "filter", counts, **more)
    counts = {"documents": 100, "parts": 2, "skipped_filtered": 5, "dealt_documents": 90}
    counts |= {"held_out_long_sentences": 40, "held_out_sentences_in_training": 3}
    sources = {
        "wikipedia": {"documents": 70, "skipped_filtered": 5, "held_out_documents": 6}
        | {"dealt_documents": 58, "skipped_leaked": 1},
        "books": {"documents": 30, "skipped_filtered": 0, "held_out_documents": 4}
        | {"dealt_documents": 32, "skipped_by_weight": 10},
    }
    config = {"weights": {"books": 2.0}, "leaks": {"sentence_words": 10}}
    write_receipt(run / "split/manifest.json", "split", counts, sources=sources, config=config)


def build_run(folder: Path, name: str = "tiny") -> Path:
    """A whole run folder, small enough to count by hand."""
    run = folder / name
    write_receipt(run / "generate/manifest.json", "generate", {"articles": 70})
    wikipedia = {"documents": 70, "sentences": 900, "skipped_redirect": 5, "skipped_short": 3}
    cc, free = ({"statistics": {"licence": name}} for name in ("CC-BY-SA-4.0", "public domain"))
    write_receipt(run / "extract/wikipedia/manifest.json", "extract", wikipedia, **cc)
    write_receipt(run / "extract/books/manifest.json", "extract", {"documents": 30}, **free)
    write_quality(run)
    write_receipt(run / "vocab/manifest.json", "vocab", {"tokens": 2048})
    write_phase(run, "phase1", instances=1200, length=128)
    write_phase(run, "phase2", instances=400, length=512)
    for seed, f1 in SQUAD_F1.items():
        write_score(run, "squad", "pretrained", seed, {"exact_match": f1 - 10, "f1": f1})
        write_score(run, "squad", "random", seed, {"exact_match": 12.0, "f1": 20.125})
    write_score(run, "mrpc", "pretrained", 1, {"accuracy": 71.5, "f1": 80.25})
    write_receipt(run / "export/manifest.json", "export", {"parameters": 4_390_144})
    write_benchmark(run / "benchmarks/extract/wikipedia.tsv", ("10.5", "100.0", "9.0"))
    write_benchmark(run / "benchmarks/extract/books.tsv", ("1.5", "300.0", "1.0"))
    write_benchmark(run / "benchmarks/pretrain/phase1.tsv", ("7200.0", "2000.0", "14000.0"))
    return run


def test_every_job_is_read_under_the_name_of_its_place(tmp_path):
    run = read_run(build_run(tmp_path))
    assert run.name == "tiny"
    assert list(run.receipts) == [stage for stage in LAYOUT if stage not in ABSENT]
    assert list(run.receipts["extract"]) == ["books", "wikipedia"]
    assert list(run.receipts["encode"])[:3] == ["phase1/0", "phase1/1", "phase1/held_out"]
    assert list(run.receipts["split"]) == [""]
    assert "squad/random/seed-2" in run.receipts["score"]
    assert run.phases() == ["phase1", "phase2"]


def test_held_out_instances_are_not_counted_as_training_instances(tmp_path):
    run = read_run(build_run(tmp_path))
    jobs = training_jobs(run.receipts["encode"], "phase1")
    assert total(jobs, "instances") == 1200


def test_every_file_that_was_read_has_a_digest(tmp_path):
    folder = build_run(tmp_path)
    run = read_run(folder)
    made = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(run.digests) == made
    assert list(run.digests) == sorted(made)


@pytest.mark.parametrize("stage", sorted(LAYOUT.keys() - ABSENT - {"generate", "filter"}))
def test_a_missing_stage_is_an_error_that_names_its_rule(tmp_path, stage):
    folder = build_run(tmp_path)
    shutil.rmtree(folder / stage)
    with pytest.raises(FileNotFoundError, match=f"the rule `{stage}` writes it"):
        read_run(folder)


@pytest.mark.parametrize(
    ("remove", "rule"),
    [
        ("pretrain/phase2/metrics.jsonl", "pretrain"),
        ("evaluate/phase2/manifest.json", "evaluate"),
        ("shard/phase2/*.json", "shard"),
        ("encode/phase2/[01].json", "encode"),
    ],
)
def test_a_phase_without_one_of_its_pieces_is_an_error(tmp_path, remove, rule):
    folder = build_run(tmp_path)
    for file in folder.glob(remove):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=f"the rule `{rule}` writes it"):
        read_run(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a folder"):
        read_run(tmp_path / "nowhere")


def test_a_receipt_of_another_stage_is_refused(tmp_path):
    folder = build_run(tmp_path)
    shutil.copy(folder / "vocab/manifest.json", folder / "split/manifest.json")
    with pytest.raises(ManifestError, match="'split'"):
        read_run(folder)


@pytest.mark.parametrize(
    ("file", "key", "message"),
    [
        ("pretrain/phase1/manifest.json", "counts", r"no counts.steps, counts.sequences"),
        ("score/mrpc/pretrained/seed-1/metrics.json", "metrics", "no metrics"),
    ],
)
def test_a_receipt_without_a_number_of_the_page_is_refused(tmp_path, file, key, message):
    folder = build_run(tmp_path)
    receipt = json.loads((folder / file).read_text("utf-8"))
    receipt.pop(key)
    (folder / file).write_text(json.dumps({"counts": {}} | receipt), "utf-8")
    with pytest.raises(RunError, match=message):
        read_run(folder)


def test_a_log_longer_than_its_phase_is_refused(tmp_path):
    folder = build_run(tmp_path)
    with (folder / "pretrain/phase1/metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"kind": "train", "step": 21}\n')
    with pytest.raises(RunError, match="reaches step 21, but its manifest counts 20 steps"):
        read_run(folder)


def test_the_cost_of_an_earlier_report_does_not_enter_the_next(tmp_path):
    folder = build_run(tmp_path)
    before = read_run(folder)
    write_benchmark(folder / "benchmarks/report/report.tsv", ("3.0", "90.0", "2.0"))
    assert read_run(folder) == before


def test_only_the_jobs_of_the_present_configuration_are_read(tmp_path):
    results = build_run(tmp_path)
    whole = read_run(results)
    jobs = list(whole.receipts["score"])

    some = read_run(results, {"score": jobs[:1], "finetune": jobs[:1]})

    assert list(some.receipts["score"]) == jobs[:1]
    assert len(jobs) > 1


def test_a_job_of_the_configuration_without_a_receipt_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no receipt of 'squad/pretrained/seed-99'"):
        read_run(build_run(tmp_path), {"score": ["squad/pretrained/seed-99"]})


def test_a_stage_without_jobs_in_this_configuration_needs_no_receipt(tmp_path):
    results = build_run(tmp_path)
    (results / "export/manifest.json").unlink()

    assert "export" not in read_run(results, {"export": []}).receipts
    with pytest.raises(FileNotFoundError, match="the rule `export` writes it"):
        read_run(results, {"export": [""]})
