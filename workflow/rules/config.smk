# in:    config/config.yaml and overlays, checked by bert.recipe
# out:   <results>/config/<section>.json, the resolved sections
# steps: one file a section, so that a change reruns exactly the stages that read it
import json


rule section:
    """Write one resolved section of the configuration."""
    output:
        "<results>/config/{section}.json",
    log:
        "<logs>/config/{section}.log",
    benchmark:
        "<benchmarks>/config/{section}.tsv"
    localrule: True
    params:
        text=lambda wildcards: json.dumps(RECIPE.section(wildcards.section), indent=2),
    shell:
        "printf '%s\\n' {params.text:q} > {output:q} 2> {log:q}"
