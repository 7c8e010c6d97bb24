# in:    <results>/shard/phase<n>/ and the held-out instances in <results>/encode/phase<n>/
# out:   <results>/pretrain/phase<n>/: final checkpoint and metrics; its evaluation; the export
# steps: convert (weights that somebody else trained), pretrain (phase by phase), evaluate, export
# Running checkpoints lie in <results>/pretrain/phase<n>/running/, which no rule declares: Snakemake
# deletes the declared outputs of a job that failed, and a run must go on from where it was.


rule convert:
    """Turn a checkpoint that somebody else trained into one of this project."""
    input:
        config="<results>/config/convert.json",
        model="<results>/config/model.json",
        raw=branch(
            RECIPE.convert is None,
            then=[],
            otherwise=f"<results>/fetch/{getattr(RECIPE.convert, 'raw', '')}.json",
        ),
        vocab="<results>/vocab/tokenizer.json",
    output:
        checkpoint=directory("<results>/convert/checkpoint"),
        model="<results>/convert/model.json",
        manifest="<results>/convert/manifest.json",
    log:
        "<logs>/convert/convert.log",
    benchmark:
        "<benchmarks>/convert/convert.tsv"
    resources:
        mem_mb=16000,
        runtime=60,
    params:
        code=code_digest("convert"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
    shell:
        "python scripts/convert.py --config {input.config:q} --model {input.model:q}"
        " --raw {input.raw:q} --vocab {params.vocab:q} --output {params.folder:q} --log {log:q}"


rule pretrain:
    """Train one phase, going on from the last running checkpoint if there is one."""
    input:
        config="<results>/config/pretrain.phase{phase}.json",
        model=RECIPE.model_section(),
        runtime=ancient("<results>/config/runtime.json"),
        shards=lambda wildcards: RECIPE.sharded(wildcards.phase, ".json"),
        shard_folders=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.sharded(wildcards.phase),
            otherwise=[],
        ),
        held_out=lambda wildcards: RECIPE.held_out(wildcards.phase, ".json"),
        held_out_folder=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.held_out(wildcards.phase),
            otherwise=[],
        ),
        examined=ancient("<results>/examine/phase{phase}/manifest.json"),
        vocab="<results>/vocab/tokenizer.json",
        previous=lambda wildcards: RECIPE.previous_checkpoint(wildcards.phase),
    output:
        checkpoint=directory("<results>/pretrain/phase{phase}/checkpoint"),
        metrics="<results>/pretrain/phase{phase}/metrics.jsonl",
        manifest="<results>/pretrain/phase{phase}/manifest.json",
    log:
        "<logs>/pretrain/phase{phase}.log",
    benchmark:
        "<benchmarks>/pretrain/phase{phase}.tsv"
    threads: RECIPE.runtime.threads or workflow.cores
    resources:
        mem_mb=16000,
        runtime=2880,
    params:
        code=code_digest("pretrain"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
        previous=lambda wildcards, input: (
            f"--previous {input.previous}" if input.previous else ""
        ),
    shell:
        "python -m bert.ranks.launch --section {input.runtime:q} --"
        " scripts/pretrain.py --config {input.config:q} --model {input.model:q}"
        " --runtime {input.runtime:q} --phase {wildcards.phase} --shards {input.shards:q}"
        " --held-out {input.held_out:q} --vocab {params.vocab:q} {params.previous}"
        " --output {params.folder:q} --log {log:q}"


rule evaluate:
    """Measure a phase's final checkpoint on the held-out instances of that phase."""
    input:
        config="<results>/config/evaluate.json",
        runtime=ancient("<results>/config/runtime.json"),
        held_out=lambda wildcards: RECIPE.held_out(wildcards.phase, ".json"),
        held_out_folder=branch(
            RECIPE.shard.given is None,
            then=lambda wildcards: RECIPE.held_out(wildcards.phase),
            otherwise=[],
        ),
        checkpoint="<results>/pretrain/phase{phase}/checkpoint",
    output:
        manifest="<results>/evaluate/phase{phase}/manifest.json",
    log:
        "<logs>/evaluate/phase{phase}.log",
    benchmark:
        "<benchmarks>/evaluate/phase{phase}.tsv"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        code=code_digest("evaluate"),
    shell:
        "python scripts/evaluate.py --config {input.config:q} --runtime {input.runtime:q}"
        " --held-out {input.held_out:q} --checkpoint {input.checkpoint:q}"
        " --output {output.manifest:q} --log {log:q}"


rule export:
    """Write the last phase's checkpoint as a folder that transformers loads."""
    input:
        config=RECIPE.model_section(),
        checkpoint=RECIPE.final_checkpoint(),
        vocab="<results>/vocab/tokenizer.json",
    output:
        model=directory("<results>/export/model"),
        manifest="<results>/export/manifest.json",
    log:
        "<logs>/export/export.log",
    benchmark:
        "<benchmarks>/export/export.tsv"
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        code=code_digest("export"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
    shell:
        "python scripts/export.py --config {input.config:q} --checkpoint {input.checkpoint:q}"
        " --vocab {params.vocab:q} --output {params.folder:q} --log {log:q}"
