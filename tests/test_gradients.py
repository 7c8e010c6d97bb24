"""Sums of gradients over real ranks, which one script makes and the tests look at."""

import json

import pytest
import torch

from bert.config import check
from bert.ranks.config import ReduceConfig
from bert.ranks.gradients import Gradients, cut_into_buckets
from bert.ranks.ranks import Ranks
from tests.rank_processes import launch

BODY = """
from bert.config import check
from bert.ranks.config import ReduceConfig
from bert.ranks.gradients import Gradients

SIZES = [(5, 4), (4,), (3, 4), (3,), (2, 3), (7,)]  # the last one is never used
MAKE = {"dtype": "fp32", "bucket_mb": 20 * 4 / 2**20, "overlap": True}
found = {}

def make():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(s, generator=generator).requires_grad_() for s in SIZES]

def loss(p, number, turned=False):
    # Two branches; `turned` swaps their order, and with it the order of the gradients.
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(100 + number))
    branches = [
        lambda: torch.tanh(x @ p[0].T + torch.cat([p[1], p[1][:1]])).square().sum(),
        lambda: (torch.tanh(x @ p[2].T + p[3]) @ p[4].T).square().sum(),
    ]
    return sum(branch() for branch in (branches[::-1] if turned else branches))

def shared(numbers, turned=False, last=True, **changes):
    p = make()
    gradients = Gradients(p, check(ReduceConfig, MAKE | changes, where="test"), ranks)
    gradients.zero()
    for number in numbers:
        if last and number == numbers[-1]:
            gradients.last_micro_batch()
        loss(p, number, turned).backward()
    gradients.reduce()
    return [x.grad.tolist() for x in p]

def alone(numbers):
    p = make()
    for number in numbers:
        loss(p, number).backward()
    return [(torch.zeros_like(x) if x.grad is None else x.grad).tolist() for x in p]

def parts(numbers):
    # Gradients of each micro-batch.
    return [alone([number]) for number in numbers]

with failing(ranks):
    join(ranks, CPU, timeout_s=60)
    r, w = ranks.rank, ranks.world
    mine = [4 * r + i for i in range(4)]
    everything = range(4 * w)
    found["shared"] = shared(mine)
    found["alone"] = alone(everything)
    found["late"] = shared(mine, overlap=False)
    found["forgotten"] = shared(mine, last=False)
    found["one bucket"] = shared(mine, bucket_mb=25)
    found["turned"] = shared(mine, turned=r == 1)
    uneven = [list(range(3)), [], [3]]
    found["uneven"] = shared(uneven[r])
    found["uneven alone"] = alone([n for one in uneven[:w] for n in one])
    found["parts"] = [alone([4 * k + i for i in range(4)]) for k in range(w)]
    found["late bf16"] = shared(mine, dtype="bf16", overlap=False)
    found["uneven bf16"] = shared(uneven[r], dtype="bf16")
    found["bf16"], found["fp16"] = shared(mine, dtype="bf16"), shared(mine, dtype="fp16")

    p = make()
    gradients = Gradients(p, check(ReduceConfig, MAKE, where="test"), ranks)
    found["buckets"] = gradients.bucket_elements
    optimizer = torch.optim.AdamW(p)
    places = []
    for step in range(3):
        gradients.zero()
        found["forgets"] = all(x.grad is None for x in p)
        gradients.last_micro_batch()
        loss(p, r).backward()
        gradients.reduce()
        optimizer.step()
        places.append([x.grad.data_ptr() for x in p])
        flat = gradients._buckets[-1].flat
        found["inside"] = flat.data_ptr() <= p[0].grad.data_ptr() < flat.data_ptr() + 4 * len(flat)
    found["stay"] = places[0] == places[1] == places[2]

    gradients.zero()
    gradients.last_micro_batch()
    found["twice"] = ""
    p[4].sum().backward()
    try:
        p[4].sum().backward()
    except RuntimeError as error:
        found["twice"] = str(error)
    gradients.reduce()

    found["sum"] = ranks.sum([2**50 + r, 1.0], CPU)
    found["any"] = [ranks.any(r == 1, CPU), ranks.any(False, CPU)]
    ranks.check_same("the configuration", "same", CPU)
    try:
        ranks.check_same("the configuration", "odd" if r == 1 else "same", CPU)
    except ValueError as error:
        found["odd"] = str(error)
    Path(sys.argv[1], f"{r}.json").write_text(json.dumps(found))
    leave(ranks)
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(2, id="2 ranks"),
        pytest.param(3, id="3 ranks", marks=pytest.mark.slow),
    ],
)
def found(request, tmp_path_factory):
    """What each rank found."""
    folder = tmp_path_factory.mktemp("gradients")
    ended = launch(folder, BODY, processes=request.param)
    assert ended.status == 0, ended.text
    return [json.loads((folder / f"{r}.json").read_text()) for r in range(request.param)]


def flat(gradients):
    return torch.cat([torch.tensor(one, dtype=torch.float64).reshape(-1) for one in gradients])


def test_every_rank_has_the_same_bits(found):
    for name in ("shared", "uneven", "bf16", "uneven bf16", "fp16", "turned", "sum"):
        assert all(one[name] == found[0][name] for one in found)


def test_the_sum_over_ranks_is_that_of_one_process_with_all_micro_batches(found):
    """Two ranks with accumulation 4 equal one with accumulation 8, within fp32 rounding."""
    shared, alone = flat(found[0]["shared"]), flat(found[0]["alone"])

    assert torch.allclose(shared, alone, rtol=1e-5, atol=1e-6 * float(alone.abs().max()))
    assert float(alone.abs().max()) > 1


@pytest.mark.parametrize("name", ["late", "forgotten"])
def test_overlap_changes_no_bit(found, name):
    assert found[0][name] == found[0]["shared"]
    assert found[0]["late bf16"] == found[0]["bf16"]


def test_bucket_size_changes_nothing_but_the_order_of_sums(found):
    assert torch.allclose(flat(found[0]["one bucket"]), flat(found[0]["shared"]), rtol=1e-6)


def test_ranks_whose_gradients_come_in_another_order_still_meet(found):
    assert torch.allclose(flat(found[0]["turned"]), flat(found[0]["shared"]), rtol=1e-5, atol=1e-5)


def test_ranks_with_fewer_micro_batches_or_none_take_part_with_zeros(found):
    """Rank 0 has three micro-batches, rank 1 none, rank 2 one."""
    uneven, alone = flat(found[0]["uneven"]), flat(found[0]["uneven alone"])

    assert torch.allclose(uneven, alone, rtol=1e-5, atol=1e-5)
    rounded = flat(found[0]["uneven bf16"])
    assert torch.allclose(rounded, alone, rtol=2e-2, atol=2e-2 * float(alone.abs().max()))
    assert not torch.equal(rounded, uneven)


def test_a_parameter_without_a_gradient_has_a_sum_of_zeros(found):
    assert found[0]["shared"][-1] == [0.0] * 7


def test_the_bf16_wire_rounds_each_share_and_each_sum_once(found):
    """Round to nearest with 8 bits: 2^-9 of each number that is rounded; then of the sums."""
    shares = torch.stack([flat(part) for part in found[0]["parts"]])
    exact, world = shares.sum(0), len(found)

    error = (flat(found[0]["bf16"]) - exact).abs()

    bound = (2 * world - 1) * 2.0**-9 * shares.abs().sum(0) * 1.01 + 1e-6
    assert (error <= bound).all()
    assert error.max() > 1e-4  # it did travel as bf16


def test_the_fp16_wire_is_eight_times_finer_than_bf16(found):
    shares = torch.stack([flat(part) for part in found[0]["parts"]])

    error = (flat(found[0]["fp16"]) - shares.sum(0)).abs()

    bound = (2 * len(found) - 1) * 2.0**-12 * shares.abs().sum(0) * 1.01 + 1e-6
    assert (error <= bound).all()


def test_buckets_are_filled_from_the_last_parameter_on(found):
    """20 elements at most: 7 + 6 + 3, then 12 + 4, then 20 alone."""
    assert found[0]["buckets"] == [16, 16, 20]


def test_gradients_stay_views_through_optimizer_steps(found):
    assert all(one["forgets"] and one["stay"] and one["inside"] for one in found)


def test_a_gradient_that_comes_after_its_sum_is_an_error(found):
    assert "shape (2, 3) came twice in one backward pass" in found[0]["twice"]


def test_ranks_agree_on_numbers(found):
    world = len(found)
    exact = sum(2**50 + rank for rank in range(world))
    for one in found:
        assert one["sum"] == [float(exact), float(world)]
        assert one["any"] == [True, False]


def test_ranks_that_run_something_else_are_named_on_every_rank(found):
    """Of two ranks that differ the second is called odd."""
    others = len(found) - 1
    for rank, one in enumerate(found):
        assert one["odd"].startswith(
            f"the configuration of rank 1 differs from that of the other {others} "
            f"(rank {rank} has '{'odd' if rank == 1 else 'same'}'); all ranks must run the same."
        )


def test_one_rank_keeps_ordinary_gradients():
    config = check(
        ReduceConfig, {"dtype": "bf16", "bucket_mb": 25, "overlap": True}, where="a test"
    )
    weight, unused = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    gradients = Gradients([weight, unused], config, Ranks(0, 1, 0))

    gradients.last_micro_batch()
    (weight * 0.1).sum().backward()
    gradients.reduce()

    assert weight.grad.tolist() == torch.full((3,), 0.1).tolist()
    assert unused.grad is None
    gradients.zero()
    assert weight.grad is None
    assert gradients.bucket_elements == []


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([3, 3, 4], [[3, 3, 4]]),
        ([3, 3, 5], [[3, 3], [5]]),
        ([50, 1, 1], [[50], [1, 1]]),
        ([1, 50, 1], [[1], [50], [1]]),
    ],
)
def test_a_bucket_holds_at_most_ten_elements_or_one_parameter(sizes, expected):
    parameters = [torch.zeros(size) for size in sizes]

    buckets = cut_into_buckets(parameters, 10)

    assert [[len(one) for one in bucket] for bucket in buckets] == expected


def test_weights_that_are_not_fp32_are_refused():
    config = check(
        ReduceConfig, {"dtype": "fp32", "bucket_mb": 25, "overlap": True}, where="a test"
    )

    with pytest.raises(TypeError, match=r"shape \(3,\) is torch.bfloat16; .* Keep the weights in"):
        Gradients([torch.ones(3, dtype=torch.bfloat16, requires_grad=True)], config, Ranks(0, 2, 0))
