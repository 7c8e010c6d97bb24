# in:    all scores, metrics, manifests and benchmarks of the run
# out:   <results>/report/: report.html, scores.json, scores.csv, figures/
# steps: report


rule report:
    """Lay out scores, curves, data, costs and provenance of the run on one page."""
    input:
        config="<results>/config/report.json",
        evaluations=expand(
            "<results>/evaluate/phase{phase}/manifest.json", phase=RECIPE.phases
        ),
        metrics=expand(
            "<results>/pretrain/phase{phase}/metrics.jsonl", phase=RECIPE.phases
        ),
        export="<results>/export/manifest.json",
        scores=[
            f"<results>/score/{task}/{start}/seed-{seed}/metrics.json"
            for task, section in RECIPE.tasks.items()
            for start in section.starts
            for seed in section.seeds
        ],
    output:
        page=report(
            "<results>/report/report.html",
            caption="../report/report.rst",
            category="Report",
        ),
        scores=report(
            "<results>/report/scores.csv",
            caption="../report/scores.rst",
            category="Scores",
        ),
        summary="<results>/report/scores.json",
        figures=directory("<results>/report/figures"),
    log:
        "<logs>/report/report.log",
    benchmark:
        "<benchmarks>/report/report.tsv"
    localrule: True
    params:
        code=code_digest("report"),
        results=RECIPE.results,
        folder=subpath(output.page, parent=True),
    shell:
        "python scripts/report.py --config {input.config:q} --results {params.results:q}"
        " --output {params.folder:q} --log {log:q}"
