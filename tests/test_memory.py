"""The allocator of a CPU process: what is set, what it brings, and that results stay the same.

Each test runs in a process of its own, because an allocator is set once for a process.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from bert.manifest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="set on Linux only")

START = """
import json, resource, sys
import torch
from bert.devices.memory import keep_memory
from bert.kernels.pool import give_back_pool, pool_bytes
from bert.train.watch import resident_mb
torch.set_num_threads(1)
kept = keep_memory(torch.device(sys.argv[1]))

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def say(**found):
    print(json.dumps(found | {"kept": kept}))
"""
FREED_AND_MADE_AGAIN = """
places, before = set(), 0
for time in range(7):
    before = faults() if time == 2 else before
    tensors = [torch.ones(SIZE, dtype=torch.uint8) for _ in range(COUNT)]
    places.add(tuple(tensor.data_ptr() for tensor in tensors))
    del tensors
say(places=len(places), faults=faults() - before)
"""
ONE_OF_64_MIB = FREED_AND_MADE_AGAIN.replace("SIZE", "64 << 20").replace("COUNT", "1")
A_HUNDRED_OF_1_MIB = FREED_AND_MADE_AGAIN.replace("SIZE", "1 << 20").replace("COUNT", "100")
MIB = 256  # pages of 4 KiB
NO_COMPILER = {"CXX": "absent"}


def run(code, device="cpu", **variables):
    """What the code prints in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "ONEDNN_"))}
    done = subprocess.run(
        [sys.executable, "-c", START + code, device],
        cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("code", [ONE_OF_64_MIB, A_HUNDRED_OF_1_MIB])
def test_large_tensors_made_again_lie_where_they_lay_and_fault_in_no_page(code):
    found = run(code)

    assert found["kept"] == "pool"
    assert found["places"] == 1
    assert found["faults"] < 10


def test_without_a_compiler_the_end_of_the_heap_is_not_given_back():
    """What was freed twice is there: glibc alone has mapped it, or has given it back, once more."""
    found = run(A_HUNDRED_OF_1_MIB, **NO_COMPILER)

    assert found["kept"] == "malloc"
    assert found["faults"] < 10 * MIB


@pytest.mark.parametrize(
    ("device", "variables"),
    [
        ("cuda", {}),
        ("cpu", {"MALLOC_TRIM_THRESHOLD_": "134217728"}),
        ("cpu", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}),
    ],
)
def test_elsewhere_and_under_settings_of_the_user_nothing_is_changed(device, variables):
    found = run(ONE_OF_64_MIB, device, **variables)

    assert found["kept"] is None
    assert found["faults"] > 5 * 60 * MIB


def test_a_preloaded_allocator_is_left_alone(tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = tmp_path / "other.c"
    source.write_text(
        "#include <stddef.h>\nvoid *__libc_malloc(size_t);\n"
        "void *malloc(size_t bytes) { return __libc_malloc(bytes); }\n"
    )
    library = tmp_path / "libother.so"
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library], check=True)
    code = """
import logging
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from bert.devices import memory
say(why=memory._reason_against())
"""
    found = run(code, LD_PRELOAD=str(library))

    assert found == {"why": "malloc is that of libother.so", "kept": None}


RAGGED = """
import random
chance = random.Random(1)
def micro_batch(tokens):
    kept = [torch.ones(tokens, width) for _ in range(4) for width in (256, 768, 1024)]
    while kept:
        small.append(torch.ones(chance.randrange(64)))
        kept.pop()
small = []
for _ in range(200):
    micro_batch(chance.randrange(1500, 2049))
largest = pool_bytes()
held = resident_mb()
give_back_pool()
say(**largest._asdict(), given=held - resident_mb(), left=pool_bytes().in_use)
"""


@pytest.mark.usefixtures("native")
def test_ragged_micro_batches_leave_few_gaps_and_give_them_back():
    """200 lengths from 1,500 to 2,048: no more than a tenth above what was in use at once."""
    found = run(RAGGED)
    live = 4 * 2048 * (256 + 768 + 1024) * 4

    assert 0.97 * live < found["most"] < 1.01 * live
    assert found["touched"] < 1.1 * found["most"]
    assert found["left"] == 0
    assert found["given"] > 0.9 * found["touched"] / 1e6 - 4


CONTENT = """
from concurrent.futures import ThreadPoolExecutor
def fill(number):
    tensors = [torch.full((n,), float(number)) for n in range(70_000, 130_000, 9_973)]
    return all(bool((tensor == number).all()) for tensor in tensors)
with ThreadPoolExecutor(8) as threads:
    whole = all(threads.map(fill, range(200)))
one = torch.ones(1 << 20)
one.resize_(1 << 21)
say(whole=whole, kept_values=bool((one[: 1 << 20] == 1).all()), aligned=one.data_ptr() % 64,
    empty=torch.ones(0).numel(), in_use=pool_bytes().in_use)
"""


@pytest.mark.usefixtures("native")
def test_blocks_of_several_threads_never_overlap():
    found = run(CONTENT)

    assert found["whole"]
    assert found["kept_values"]
    assert found["aligned"] == 0
    assert (1 << 23) <= found["in_use"] < (1 << 23) + 128


TRAINED = """
import hashlib
from bert.config import check
from bert.model.bert import initialize
from bert.model.attention import sequences_of
from bert.model.config import ModelConfig
from bert.model.heads import BertForSpan
from tests.conftest import MODEL
size = {"hidden_size": 128, "intermediate_size": 512, "max_position_embeddings": 512}
model = BertForSpan(check(ModelConfig, MODEL | size, where="a test"), 3000)
initialize(model, 0.02, torch.Generator().manual_seed(1))
digest = hashlib.sha256()
for step, lengths in enumerate([(400, 312, 100), (512, 77), (300, 300, 111)]):
    torch.manual_seed(step)
    ids = torch.randint(5, 3000, (sum(lengths),))
    places = torch.cat([torch.arange(n) for n in lengths])
    start, end = model(ids, torch.zeros_like(ids), places, sequences_of(lengths))
    (start.logsumexp(0) + end.square().sum()).backward()
    for parameter in model.parameters():
        digest.update(parameter.grad.numpy().tobytes())
say(digest=digest.hexdigest(), most=pool_bytes().most)
"""


@pytest.mark.usefixtures("native")
def test_gradients_have_the_same_bits_whoever_allocates():
    pooled = run(TRAINED)
    kept = run(TRAINED, **NO_COMPILER)
    plain = run(TRAINED, MALLOC_TRIM_THRESHOLD_="134217728")

    assert [pooled["kept"], kept["kept"], plain["kept"]] == ["pool", "malloc", None]
    assert pooled["most"] > 10_000_000
    assert pooled["digest"] == kept["digest"] == plain["digest"]
