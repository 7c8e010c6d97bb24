# in:    all scores, metrics, manifests and benchmarks of the run
# out:   <results>/report/: report.html, data_card.md, scores.json, scores.csv, figures/
# steps: report


rule report:
    """Lay out scores, curves, data, costs and provenance of the run on one page."""
    input:
        config="<results>/config/report.json",
        gate="<results>/config/gate.json",
        jobs="<results>/config/jobs.json",
        page=collect("bert/report/{name}", name=["page.html", "page.css", "figure.css"]),
        converted=branch(
            RECIPE.convert is None,
            then=[],
            otherwise="<results>/convert/manifest.json",
        ),
        evaluations=expand(
            "<results>/evaluate/phase{phase}/manifest.json", phase=RECIPE.phases
        ),
        metrics=expand(
            "<results>/pretrain/phase{phase}/metrics.jsonl", phase=RECIPE.phases
        ),
        export=RECIPE.model_export(),
        scores=expand("<results>/score/{run}/metrics.json", run=RECIPE.runs()),
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
        card="<results>/report/data_card.md",
        curves=collect("<results>/report/curves_{kind}.csv", kind=["train", "evaluate"]),
        figures=directory("<results>/report/figures"),
    log:
        "<logs>/report/report.log",
    benchmark:
        "<benchmarks>/report/report.tsv"
    localrule: True
    params:
        code=code_digest("report"),
        results=subpath(output.page, ancestor=2),
        folder=subpath(output.page, parent=True),
    shell:
        "python scripts/report.py --config {input.config:q} --gate {input.gate:q}"
        " --jobs {input.jobs:q} --results {params.results:q}"
        " --output {params.folder:q} --log {log:q}"
