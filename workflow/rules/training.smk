# in:    <results>/shard/phase<n>/ and the held-out instances in <results>/encode/phase<n>/
# out:   <results>/pretrain/phase<n>/: final checkpoint and metrics; its evaluation; the export
# steps: pretrain (phase by phase), evaluate, export
# Running checkpoints lie in <results>/pretrain/phase<n>/running/, which no rule declares: Snakemake
# deletes the declared outputs of a job that failed, and a run must go on from where it was.


rule pretrain:
    """Train one phase, going on from the last running checkpoint if there is one."""
    input:
        config="<results>/config/pretrain.phase{phase}.json",
        model="<results>/config/model.json",
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
        weights=lambda wildcards: RECIPE.given_weights(wildcards.phase),
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
        weights=lambda wildcards, input: (
            f"--weights {input.weights}" if input.weights else ""
        ),
        previous=lambda wildcards, input: (
            f"--previous {input.previous}" if input.previous else ""
        ),
    shell:
        "python -m bert.ranks.launch --section {input.runtime:q} --"
        " scripts/pretrain.py --config {input.config:q} --model {input.model:q}"
        " --runtime {input.runtime:q} --phase {wildcards.phase} --shards {input.shards:q}"
        " --held-out {input.held_out:q} --vocab {params.vocab:q} {params.previous} {params.weights}"
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
        config="<results>/config/model.json",
        checkpoint=f"<results>/pretrain/phase{RECIPE.phases[-1]}/checkpoint",
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
