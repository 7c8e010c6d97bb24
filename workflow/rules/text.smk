# in:    <results>/fetch/<name>.json and the raw files it lists
# out:   <results>/split/: text parts and held-out text, document-disjoint
# steps: extract (one job a source), split


rule extract:
    """Turn the raw files of one source into documents, one sentence a line."""
    input:
        config="<results>/config/extract.{source}.json",
        raw=lambda wildcards: f"<results>/fetch/{RECIPE.extract[wildcards.source].raw}.json",
    output:
        documents="<results>/extract/{source}/documents.txt",
        manifest="<results>/extract/{source}/manifest.json",
    log:
        "<logs>/extract/{source}.log",
    benchmark:
        "<benchmarks>/extract/{source}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1000 + 500 * threads * attempt,
        runtime=lambda wildcards, attempt: 720 * attempt,
    params:
        code=code_digest("extract"),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python scripts/extract.py --config {input.config:q} --raw {input.raw:q}"
        " --output {params.folder:q} --workers {threads} --log {log:q}"


rule split:
    """Cut all documents into text parts and held-out text, without sharing a document."""
    input:
        config="<results>/config/split.json",
        manifests=expand(
            "<results>/extract/{source}/manifest.json", source=RECIPE.sources
        ),
        documents=expand(
            "<results>/extract/{source}/documents.txt", source=RECIPE.sources
        ),
    output:
        parts=directory("<results>/split/parts"),
        held_out="<results>/split/held_out.txt",
        manifest="<results>/split/manifest.json",
    log:
        "<logs>/split/split.log",
    benchmark:
        "<benchmarks>/split/split.tsv"
    resources:
        mem_mb=2000,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        code=code_digest("split"),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python scripts/split.py --config {input.config:q} --extract {input.manifests:q}"
        " --output {params.folder:q} --log {log:q}"
