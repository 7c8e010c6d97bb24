# in:    <results>/split/: text parts and held-out text
# out:   <results>/shard/phase<n>/: globally shuffled shards; held-out instances in encode/
# steps: vocab, encode (a few jobs a phase, each a pool), shard (likewise)


rule vocab:
    """Check the given vocabulary, or train one on the text parts."""
    input:
        config="<results>/config/vocab.json",
        source=branch(
            RECIPE.vocab.kind == "given",
            then=f"<results>/fetch/{getattr(RECIPE.vocab, 'raw', '')}.json",
            otherwise="<results>/split/manifest.json",
        ),
        parts=branch(
            RECIPE.vocab.kind == "given", then=[], otherwise="<results>/split/parts"
        ),
    output:
        vocab="<results>/vocab/vocab.txt",
        tokenizer="<results>/vocab/tokenizer.json",
        manifest="<results>/vocab/manifest.json",
    log:
        "<logs>/vocab/vocab.log",
    benchmark:
        "<benchmarks>/vocab/vocab.tsv"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        code=code_digest("vocab"),
        option=branch(RECIPE.vocab.kind == "given", then="--given", otherwise="--split"),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python scripts/vocab.py --config {input.config:q} {params.option} {input.source:q}"
        " --output {params.folder:q} --log {log:q}"


rule encode:
    """Make the instances of some text parts, or of the held-out text, for one phase."""
    input:
        config="<results>/config/encode.phase{phase}.json",
        split="<results>/split/manifest.json",
        parts="<results>/split/parts",
        held_out="<results>/split/held_out.txt",
        vocab="<results>/vocab/vocab.txt",
        vocab_manifest="<results>/vocab/manifest.json",
    output:
        instances=directory("<results>/encode/phase{phase}/{job}"),
        manifest="<results>/encode/phase{phase}/{job}.json",
    log:
        "<logs>/encode/phase{phase}.{job}.log",
    benchmark:
        "<benchmarks>/encode/phase{phase}.{job}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1000 + 2000 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=code_digest("encode"),
        parts=lambda wildcards: RECIPE.parts_of_job(wildcards.job),
        vocab=subpath(input.vocab, parent=True),
    shell:
        "python scripts/encode.py --config {input.config:q} --phase {wildcards.phase}"
        " --split {input.split:q} --parts {params.parts:q} --vocab {params.vocab:q}"
        " --output {output.instances:q} --workers {threads} --log {log:q}"


rule shard:
    """Shuffle all instances of a phase; this job writes its range of the shards."""
    input:
        config="<results>/config/shard.json",
        manifests=lambda wildcards: RECIPE.encoded(wildcards.phase, ".json"),
        instances=lambda wildcards: RECIPE.encoded(wildcards.phase),
    output:
        shards=directory("<results>/shard/phase{phase}/{job}"),
        manifest="<results>/shard/phase{phase}/{job}.json",
    log:
        "<logs>/shard/phase{phase}.{job}.log",
    benchmark:
        "<benchmarks>/shard/phase{phase}.{job}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1000 + 1000 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=code_digest("shard"),
        job=lambda wildcards: int(wildcards.job),
    shell:
        "python scripts/shard.py --config {input.config:q} --phase {wildcards.phase}"
        " --job {params.job} --encode {input.manifests:q} --output {output.shards:q}"
        " --workers {threads} --log {log:q}"
