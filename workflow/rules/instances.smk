# in:    <results>/split/: text parts and held-out text
# out:   <results>/shard/phase<n>/: globally shuffled shards; held-out instances in encode/
# steps: vocab, encode (a few jobs a phase, each a pool), shard (likewise), dialect (if
#        asked for), examine
# With shard.given, shard only checks shards that exist; its manifests name the raw files.


rule vocab:
    """Check the given vocabulary, or train one on the text parts; measure how it fits."""
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
        manifests=expand(
            "<results>/extract/{source}/manifest.json", source=RECIPE.sources
        ),
        documents=expand(
            "<results>/extract/{source}/documents.txt", source=RECIPE.sources
        ),
    output:
        # Beside them the files of the vocabulary's kind: vocab.txt, or vocab.json and merges.txt.
        tokenizer="<results>/vocab/tokenizer.json",
        coverage="<results>/vocab/coverage.json",
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
        " --extract {input.manifests:q} --output {params.folder:q} --log {log:q}"


rule encode:
    """Make the instances of some text parts, or of the held-out text, for one phase."""
    input:
        config="<results>/config/encode.phase{phase}.json",
        split="<results>/split/manifest.json",
        parts="<results>/split/parts",
        held_out="<results>/split/held_out.txt",
        vocab="<results>/vocab/tokenizer.json",
    output:
        instances=directory("<results>/encode/phase{phase}/{job}"),
        manifest="<results>/encode/phase{phase}/{job}.json",
    log:
        "<logs>/encode/phase{phase}.{job}.log",
    benchmark:
        "<benchmarks>/encode/phase{phase}.{job}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 500 + 300 * threads * attempt,
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
    """Shuffle all instances of a phase into this job's shards, or check given shards."""
    input:
        config="<results>/config/shard.json",
        manifests=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.encoded(wildcards.phase, ".json"),
            otherwise=lambda wildcards: RECIPE.given_item(
                wildcards.phase, wildcards.job
            ),
        ),
        instances=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.encoded(wildcards.phase),
            otherwise=[],
        ),
        vocab=branch(
            RECIPE.shard.given is None,
            then=[],
            otherwise="<results>/vocab/tokenizer.json",
        ),
    output:
        shards=branch(
            RECIPE.shard.given is None,
            then=directory("<results>/shard/phase{phase}/{job}"),
            otherwise=[],
        ),
        manifest="<results>/shard/phase{phase}/{job}.json",
    log:
        "<logs>/shard/phase{phase}.{job}.log",
    benchmark:
        "<benchmarks>/shard/phase{phase}.{job}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 500 + 300 * threads * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        code=code_digest("shard"),
        option=branch(RECIPE.shard.given is None, then="--encode", otherwise="--given"),
        vocab=lambda wildcards, input: (
            f"--vocab {Path(input.vocab).parent}" if input.vocab else ""
        ),
        folder=lambda wildcards, output: Path(output.manifest).with_suffix(""),
    shell:
        "python scripts/shard.py --config {input.config:q} --phase {wildcards.phase}"
        " --job {wildcards.job} {params.option} {input.manifests:q} {params.vocab}"
        " --output {params.folder:q} --workers {threads} --log {log:q}"


rule dialect:
    """Write all shards of a phase as files of another system."""
    input:
        config="<results>/config/dialect.{name}.json",
        manifests=lambda wildcards: RECIPE.sharded(wildcards.phase, ".json"),
        shards=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.sharded(wildcards.phase),
            otherwise=[],
        ),
    output:
        files=directory("<results>/dialect/{name}/phase{phase}"),
        manifest="<results>/dialect/{name}/phase{phase}.json",
    log:
        "<logs>/dialect/{name}.phase{phase}.log",
    benchmark:
        "<benchmarks>/dialect/{name}.phase{phase}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=lambda wildcards, attempt, threads: 1000 + 500 * threads * attempt,
        runtime=lambda wildcards, attempt: 720 * attempt,
    params:
        code=code_digest("dialect"),
    shell:
        "python scripts/dialect.py --config {input.config:q} --name {wildcards.name}"
        " --phase {wildcards.phase} --shards {input.manifests:q} --output {output.files:q}"
        " --workers {threads} --log {log:q}"


rule examine:
    """Look at a phase as training will see it: rules checked, statistics, samples as text."""
    input:
        config="<results>/config/examine.json",
        phase_config="<results>/config/pretrain.phase{phase}.json",
        manifests=lambda wildcards: RECIPE.sharded(wildcards.phase, ".json"),
        shards=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.sharded(wildcards.phase),
            otherwise=[],
        ),
        vocab="<results>/vocab/tokenizer.json",
    output:
        samples="<results>/examine/phase{phase}/samples.txt",
        manifest="<results>/examine/phase{phase}/manifest.json",
    log:
        "<logs>/examine/phase{phase}.log",
    benchmark:
        "<benchmarks>/examine/phase{phase}.tsv"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=code_digest("examine"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
    shell:
        "python scripts/examine.py --config {input.config:q} --phase-config {input.phase_config:q}"
        " --phase {wildcards.phase} --shards {input.manifests:q} --vocab {params.vocab:q}"
        " --output {params.folder:q} --log {log:q}"
