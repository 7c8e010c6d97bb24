# in:    <results>/fetch/<name>.json and the raw files it lists
# out:   <results>/split/: text parts and held-out text, document-disjoint
# steps: extract (one job a source), filter (unless it is null), split


rule extract:
    """Turn the raw files of one source into documents, one sentence a line."""
    input:
        config="<results>/config/extract.{source}.json",
        raw=lambda wildcards: f"<results>/fetch/{RECIPE.extract[wildcards.source].raw}.json",
    output:
        documents="<results>/extract/{source}/documents.txt",
        names="<results>/extract/{source}/names.txt",
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


rule filter:
    """Mark the documents that are duplicates or text of the tasks."""
    input:
        config="<results>/config/filter.json",
        manifests=expand(
            "<results>/extract/{source}/manifest.json", source=RECIPE.sources
        ),
        documents=expand(
            "<results>/extract/{source}/{file}.txt",
            source=RECIPE.sources,
            file=["documents", "names"],
        ),
        tasks=RECIPE.task_texts(),
    output:
        bytes=expand("<results>/filter/{source}.u8", source=RECIPE.sources),
        examples="<results>/filter/examples.jsonl",
        manifest="<results>/filter/manifest.json",
    log:
        "<logs>/filter/filter.log",
    benchmark:
        "<benchmarks>/filter/filter.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1000 + 500 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=code_digest("filter"),
        tasks=lambda wildcards, input: (
            f"--tasks {' '.join(input.tasks)}" if input.tasks else ""
        ),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python scripts/filter.py --config {input.config:q} --extract {input.manifests:q}"
        " {params.tasks} --output {params.folder:q} --workers {threads} --log {log:q}"


rule split:
    """Cut all documents into text parts and held-out text, without sharing a document."""
    input:
        config="<results>/config/split.json",
        manifests=expand(
            "<results>/extract/{source}/manifest.json", source=RECIPE.sources
        ),
        documents=expand(
            "<results>/extract/{source}/{file}.txt",
            source=RECIPE.sources,
            file=["documents", "names"],
        ),
        filter=branch(
            RECIPE.filter is None, then=[], otherwise="<results>/filter/manifest.json"
        ),
        held_out_list=branch(
            RECIPE.split.held_out.list is None,
            then=[],
            otherwise=f"<results>/fetch/{RECIPE.split.held_out.list}.json",
        ),
        train_list=branch(
            RECIPE.split.train_list is None,
            then=[],
            otherwise=f"<results>/fetch/{RECIPE.split.train_list}.json",
        ),
    output:
        parts=directory("<results>/split/parts"),
        held_out="<results>/split/held_out.txt",
        names="<results>/split/held_out_names.txt",
        manifest="<results>/split/manifest.json",
    log:
        "<logs>/split/split.log",
    benchmark:
        "<benchmarks>/split/split.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1000 + 500 * threads * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        code=code_digest("split"),
        options=lambda wildcards, input: " ".join(
            f"--{name.replace('_', '-')} {input.get(name)}"
            for name in ("filter", "held_out_list", "train_list")
            if input.get(name)
        ),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python scripts/split.py --config {input.config:q} --extract {input.manifests:q}"
        " {params.options} --output {params.folder:q} --workers {threads} --log {log:q}"
