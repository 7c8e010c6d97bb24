import pytest
import torch

from bert.kernels.products import by_tiles, has_tiles, transpose, weight_gradient

pytestmark = pytest.mark.usefixtures("native")


def factors(tokens, out, width, dtype):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(tokens, n, generator=generator).to(dtype) for n in (out, width))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("out", "width"), [(24, 8), (8, 24), (96, 96)])
def test_weight_gradient_is_the_product_of_float64(out, width, dtype):
    grad, rows = factors(130, out, width, dtype)
    expected = grad.double().t() @ rows.double()
    found = [weight_gradient(grad, rows)]
    if dtype == torch.bfloat16:
        found.append(by_tiles(grad, rows))
    for one in found:
        assert one.dtype == torch.float32
        tolerance = 2**-8 if dtype == torch.bfloat16 else 1e-6
        assert (one.double() - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (64, 32), (33, 65), (2, 0)])
def test_transposed_is_the_same_numbers_in_the_other_order(shape):
    x = torch.randn(*shape).bfloat16()
    turned = transpose(x)
    assert turned.is_contiguous()
    assert torch.equal(turned, x.t())


@pytest.mark.parametrize(
    ("flags", "ceiling", "expected"),
    [
        ("fpu amx_bf16 amx_tile", None, True),
        ("fpu avx512_bf16", None, False),
        ("fpu amx_bf16 amx_tile", "AVX512_CORE_BF16", False),
        ("fpu amx_bf16 amx_tile", "AVX512_CORE_AMX", True),
    ],
)
def test_tiles_are_used_where_cpu_and_ceiling_allow(
    flags, ceiling, expected, tmp_path, monkeypatch
):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if ceiling:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", ceiling)
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert has_tiles(tmp_path / "cpuinfo") is expected
    assert has_tiles(tmp_path / "absent") is False
