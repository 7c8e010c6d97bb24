# in:    the pretrained weights, the vocabulary, task data in <results>/fetch/
# out:   <results>/score/<task>/<start>/<trial>/metrics.json; gate/<task>.json; publish/<task>/model
# steps: features (once a task), finetune (one job a task, start and trial), score, publish, gate
# A trial is a seed, and in a grid a learning rate and a seed.


wildcard_constraints:
    task="|".join(RECIPE.tasks) or "none",
    trial=r"(rate-[0-9.e-]+\.)?seed-\d+",


rule features:
    """Check a task's files and turn its text into token sequences, once for all its runs."""
    input:
        config="<results>/config/finetune.{task}.task.json",
        train=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].train}.json",
        dev=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].dev}.json",
        vocab="<results>/vocab/tokenizer.json",
    output:
        train="<results>/features/{task}/train.h5",
        dev="<results>/features/{task}/dev.h5",
        manifest="<results>/features/{task}/manifest.json",
    log:
        "<logs>/features/{task}.log",
    benchmark:
        "<benchmarks>/features/{task}.tsv"
    threads: RECIPE.runtime.workers or workflow.cores
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code_digest("features"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
    shell:
        "python scripts/features.py --config {input.config:q} --train {input.train:q}"
        " --dev {input.dev:q} --vocab {params.vocab:q} --workers {threads}"
        " --output {params.folder:q} --log {log:q}"


rule finetune:
    """Fine-tune on one task with one seed, from pretrained or random weights, and predict."""
    input:
        config=lambda wildcards: RECIPE.finetune_section(
            wildcards.task, wildcards.trial
        ),
        task="<results>/config/finetune.{task}.task.json",
        model=RECIPE.model_section(),
        runtime=ancient("<results>/config/runtime.json"),
        train="<results>/features/{task}/train.h5",
        dev="<results>/features/{task}/dev.h5",
        gold=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].dev}.json",
        vocab="<results>/vocab/tokenizer.json",
        checkpoint=branch(
            lambda wildcards: wildcards.start == "pretrained",
            then=RECIPE.final_checkpoint(),
            otherwise=[],
        ),
    output:
        predictions="<results>/finetune/{task}/{start}/{trial}/predictions.json",
        official=directory("<results>/finetune/{task}/{start}/{trial}/official"),
        metrics="<results>/finetune/{task}/{start}/{trial}/metrics.jsonl",
        manifest="<results>/finetune/{task}/{start}/{trial}/manifest.json",
        weights=(str if RECIPE.published() else temp)(
            "<results>/finetune/{task}/{start}/{trial}/model.safetensors"
        ),
    log:
        "<logs>/finetune/{task}.{start}.{trial}.log",
    benchmark:
        "<benchmarks>/finetune/{task}.{start}.{trial}.tsv"
    threads: RECIPE.runtime.finetune_threads or workflow.cores
    resources:
        mem_mb=16000,
        runtime=720,
    params:
        code=code_digest("finetune"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
        seed=lambda wildcards: wildcards.trial.rpartition("seed-")[2],
        checkpoint=lambda wildcards, input: (
            f"--checkpoint {input.checkpoint}" if input.checkpoint else ""
        ),
    shell:
        "python -m bert.ranks.launch --section {input.runtime:q} --here finetune_processes --"
        " scripts/finetune.py --config {input.config:q} --task-config {input.task:q}"
        " --model {input.model:q} --runtime {input.runtime:q} --task {wildcards.task}"
        " --seed {params.seed} --train {input.train:q} --dev {input.dev:q} --gold {input.gold:q}"
        " --vocab {params.vocab:q} {params.checkpoint} --output {params.folder:q} --log {log:q}"


rule score:
    """Score the predictions of one fine-tuning by the task's official metrics."""
    input:
        config="<results>/config/finetune.{task}.task.json",
        dev=lambda wildcards: f"<results>/fetch/{RECIPE.tasks[wildcards.task].dev}.json",
        predictions="<results>/finetune/{task}/{start}/{trial}/predictions.json",
    output:
        metrics="<results>/score/{task}/{start}/{trial}/metrics.json",
    log:
        "<logs>/score/{task}.{start}.{trial}.log",
    benchmark:
        "<benchmarks>/score/{task}.{start}.{trial}.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("score"),
    shell:
        "python scripts/score.py --config {input.config:q} --dev {input.dev:q}"
        " --predictions {input.predictions:q} --task {wildcards.task} --start {wildcards.start}"
        " --trial {wildcards.trial} --output {output.metrics:q} --log {log:q}"


rule publish:
    """Keep one fine-tuned model of a task as a folder that transformers loads."""
    input:
        config="<results>/config/publish.json",
        task="<results>/config/finetune.{task}.task.json",
        model=RECIPE.model_section(),
        vocab="<results>/vocab/tokenizer.json",
        scores=lambda wildcards: expand(
            "<results>/score/{task}/{run}/metrics.json",
            task=wildcards.task,
            run=RECIPE.trials(wildcards.task, "pretrained"),
        ),
        weights=lambda wildcards: expand(
            "<results>/finetune/{task}/{run}/model.safetensors",
            task=wildcards.task,
            run=RECIPE.trials(wildcards.task, "pretrained"),
        ),
    output:
        model=directory("<results>/publish/{task}/model"),
        manifest="<results>/publish/{task}/manifest.json",
    log:
        "<logs>/publish/{task}.log",
    benchmark:
        "<benchmarks>/publish/{task}.tsv"
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        code=code_digest("publish"),
        folder=subpath(output.manifest, parent=True),
        vocab=subpath(input.vocab, parent=True),
    shell:
        "python scripts/publish.py --config {input.config:q} --task-config {input.task:q}"
        " --model {input.model:q} --task {wildcards.task} --vocab {params.vocab:q}"
        " --scores {input.scores:q} --weights {input.weights:q}"
        " --output {params.folder:q} --log {log:q}"


rule gate:
    """Compare a task's scores with those of no learning and of random weights."""
    input:
        config="<results>/config/gate.json",
        # After the report, which shows what failed.
        page=ancient("<results>/report/report.html"),
        scores=lambda wildcards: expand(
            "<results>/score/{task}/{run}/metrics.json",
            task=wildcards.task,
            run=[
                run
                for start in RECIPE.tasks[wildcards.task].starts
                for run in RECIPE.trials(wildcards.task, start)
            ],
        ),
    output:
        verdict="<results>/gate/{task}.json",
    log:
        "<logs>/gate/{task}.log",
    benchmark:
        "<benchmarks>/gate/{task}.tsv"
    localrule: True
    params:
        code=code_digest("gate"),
    shell:
        "python scripts/gate.py --config {input.config:q} --task {wildcards.task}"
        " --scores {input.scores:q} --output {output.verdict:q} --log {log:q}"
