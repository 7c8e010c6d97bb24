"""bf16 to fp32: torch's own conversion is the oracle, and exact."""

import pytest
import torch

from bert.kernels.widen import widen

pytestmark = pytest.mark.usefixtures("native")
SHAPES = [(1, 1), (3, 5), (32, 32), (33, 65), (31, 200), (64, 64), (65, 130), (63, 200), (0, 4)]


def draw(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("shape", [*SHAPES, (7,), (2, 3, 4)])
def test_widening_changes_no_value(shape):
    source = draw(*shape).bfloat16()
    assert torch.equal(widen(source), source.float())


def test_every_bf16_number_is_widened_as_torch_does():
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16)
    numbers = every[~every.isnan()]
    assert torch.equal(widen(numbers), numbers.float())
    assert widen(every[every.isnan()]).isnan().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_widening_transposes_on_the_way(shape):
    source = draw(*shape).bfloat16()
    found = widen(source, transposed=True)
    assert torch.equal(found, source.float().t())
    assert found.is_contiguous()


@pytest.mark.parametrize("transposed", [False, True])
def test_threads_do_not_change_it(transposed):
    source = draw(100, 300).bfloat16()
    expected = widen(source, transposed=transposed)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert torch.equal(widen(source, transposed=transposed), expected)


@pytest.mark.parametrize(
    ("source", "transposed", "message"),
    [
        (torch.ones(2, 3), False, r"float32 of shape \(2, 3\); expected torch.bfloat16\."),
        (torch.ones(2, dtype=torch.bfloat16), True, "expected torch.bfloat16 of two dimensions"),
        (torch.ones(2, 3, dtype=torch.bfloat16).t(), False, "no contiguous tensor"),
    ],
)
def test_a_source_of_another_kind_is_refused(source, transposed, message):
    with pytest.raises(TypeError, match=message):
        widen(source, transposed=transposed)
