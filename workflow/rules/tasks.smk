# in:    the last phase's checkpoint, the vocabulary, task data in <results>/fetch/
# out:   <results>/score/<task>/<start>/seed-<n>/metrics.json
# steps: finetune (one job a task, start and seed), score


wildcard_constraints:
    task="|".join(RECIPE.tasks),


rule finetune:
    """Fine-tune on one task with one seed, from pretrained or random weights, and predict."""
    input:
        config="<results>/config/finetune.{task}.json",
        model="<results>/config/model.json",
        runtime=ancient("<results>/config/runtime.json"),
        train=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].train}.json",
        dev=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].dev}.json",
        vocab="<results>/vocab/tokenizer.json",
        checkpoint=branch(
            lambda wildcards: wildcards.start == "pretrained",
            then=f"<results>/pretrain/phase{RECIPE.phases[-1]}/checkpoint",
            otherwise=[],
        ),
    output:
        predictions="<results>/finetune/{task}/{start}/seed-{seed}/predictions.json",
        metrics="<results>/finetune/{task}/{start}/seed-{seed}/metrics.jsonl",
        manifest="<results>/finetune/{task}/{start}/seed-{seed}/manifest.json",
    log:
        "<logs>/finetune/{task}.{start}.seed-{seed}.log",
    benchmark:
        "<benchmarks>/finetune/{task}.{start}.seed-{seed}.tsv"
    threads: RECIPE.runtime.finetune_threads or workflow.cores
    resources:
        mem_mb=16000,
        runtime=720,
    params:
        code=code_digest("finetune"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
        checkpoint=lambda wildcards, input: (
            f"--checkpoint {input.checkpoint}" if input.checkpoint else ""
        ),
    shell:
        "python scripts/finetune.py --config {input.config:q} --model {input.model:q}"
        " --runtime {input.runtime:q} --task {wildcards.task} --seed {wildcards.seed}"
        " --train {input.train:q} --dev {input.dev:q} --vocab {params.vocab:q} {params.checkpoint}"
        " --output {params.folder:q} --log {log:q}"


rule score:
    """Score the predictions of one fine-tuning by the task's official metrics."""
    input:
        config="<results>/config/finetune.{task}.json",
        dev=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].dev}.json",
        predictions="<results>/finetune/{task}/{start}/seed-{seed}/predictions.json",
    output:
        metrics="<results>/score/{task}/{start}/seed-{seed}/metrics.json",
    log:
        "<logs>/score/{task}.{start}.seed-{seed}.log",
    benchmark:
        "<benchmarks>/score/{task}.{start}.seed-{seed}.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("score"),
    shell:
        "python scripts/score.py --config {input.config:q} --dev {input.dev:q}"
        " --predictions {input.predictions:q} --task {wildcards.task} --start {wildcards.start}"
        " --seed {wildcards.seed} --output {output.metrics:q} --log {log:q}"
