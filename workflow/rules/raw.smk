# in:    URLs and local paths of `fetch`; for the demo, nothing
# out:   <results>/fetch/<name>.json, the checked list of raw files
# steps: generate (demo only), fetch


rule generate:
    """Write the demo's closed world in the real raw formats."""
    input:
        config="<results>/config/generate.json",
    output:
        wikipedia="<results>/generate/wikipedia.xml.bz2",
        books=directory("<results>/generate/books"),
        squad_train="<results>/generate/squad/train.json",
        squad_dev="<results>/generate/squad/dev.json",
        mrpc_train="<results>/generate/mrpc/train.tsv",
        mrpc_dev="<results>/generate/mrpc/dev.tsv",
        manifest="<results>/generate/manifest.json",
    log:
        "<logs>/generate/generate.log",
    benchmark:
        "<benchmarks>/generate/generate.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("generate"),
        folder=subpath(output.manifest, parent=True),
    shell:
        "python scripts/generate.py --config {input.config:q} --output {params.folder:q}"
        " --log {log:q}"


rule fetch:
    """Download a raw item, or take it from its local path; check size and checksums."""
    input:
        config="<results>/config/fetch.{name}.json",
        local=lambda wildcards: RECIPE.local_inputs(wildcards.name),
    output:
        manifest="<results>/fetch/{name}.json",
    log:
        "<logs>/fetch/{name}.log",
    benchmark:
        "<benchmarks>/fetch/{name}.tsv"
    localrule: True
    resources:
        downloads=RECIPE.runtime.downloads,
    params:
        code=code_digest("fetch"),
    shell:
        "python scripts/fetch.py --config {input.config:q} --output {output.manifest:q}"
        " --downloads {resources.downloads} --log {log:q}"
