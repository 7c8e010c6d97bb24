"""The modules of benchmarks/training, which are no package, and made-up results."""

import importlib
import sys

from bert.manifest import ROOT

FOLDER = ROOT / "benchmarks" / "training"
sys.path.append(str(FOLDER))
cases, variants, instances, groups, figures, page, peer, rounds, after_backward = (
    importlib.import_module(name)
    for name in (
        "cases", "variants", "instances", "groups", "figures", "page", "peer", "rounds",
        "after_backward",
    )
)  # fmt: skip

TINY = cases.case("tiny", "base", 1, (8, 5, 3), 8)._replace(hidden=64, heads=1, intermediate=64)
KNOWN = {one.name: one for one in [*variants.PEERS, *variants.OWN]}


def steps(*seconds, **values):
    usual = {"flops": 1e9, "probes": [1e9, 1e9], "tokens": 10, "sequences": 2, "optimizer_s": 0.1,
             "peak_mb": 500.0, "imported_mb": 200.0}  # fmt: skip
    return [usual | values | {"seconds": one} for one in seconds]


def run(*seconds, around=None, **values):
    return {"steps": steps(*seconds, **values), "first_loss": 11.0, "around": around}
