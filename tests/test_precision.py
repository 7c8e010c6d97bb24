import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from bert.config import ConfigError
from bert.devices.device import choose_device, describe_device
from bert.devices.instruction_set import limit_instruction_set
from bert.devices.kernels import kernels_in, product_kernels
from bert.devices.precision import (
    FRACTION_BITS,
    autocast,
    needs_loss_scaling,
    product_bits,
    set_product_precision,
)
from tests.test_execution import CPU, compute, make_model, run

FLAGS = torch.backends.cpu.get_cpu_capability()


@pytest.fixture(autouse=True)
def exact_products():
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_product_keeps_the_bits_that_its_precision_has(precision):
    assert product_bits(compute(precision=precision), CPU) == FRACTION_BITS[precision]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_under_autocast_have_the_asked_type(precision, dtype):
    with autocast(compute(precision=precision), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(("precision", "share"), [("bf16", 0.05), ("fp16", 0.01)])
def test_half_precisions_train_close_to_fp32(precision, share):
    found = run(make_model(), compute(precision=precision), [1])
    expected = run(make_model(), compute(), [1])

    torch.testing.assert_close(found[0], expected[0], rtol=share, atol=0)


def test_only_fp16_needs_loss_scaling():
    scaled = [name for name in FRACTION_BITS if _needs(name)]

    assert scaled == ["fp16"]


def _needs(precision):
    device = "cuda" if precision == "tf32" else "cpu"
    return needs_loss_scaling(compute(precision=precision, device=device))


def test_bf32_rounds_or_is_said_not_to(caplog):
    config = compute(precision="bf32")

    device = choose_device(config, 0)

    got = product_bits(config, device)
    assert describe_device(device, config)["product_bits"] == got
    assert got in (7, 23)
    assert ("keep 7 bits of fraction, but here they keep 23" in caplog.text) == (got == 23)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_product_without_a_kernel_is_warned_of(precision, caplog):
    config = compute(precision=precision)

    choose_device(config, 0)

    assert (f"{precision}, for which no library has" in caplog.text) == (
        not product_kernels(config)
    )


def test_tf32_on_a_cpu_is_refused():
    with pytest.raises(ValueError, match="precision is tf32, which cuda and xpu have, but the dev"):
        set_product_precision(compute(precision="tf32", device="auto"), CPU)


def test_bf32_on_cuda_is_refused():
    with pytest.raises(ValueError, match=r"precision is bf32, which cpu and xpu have"):
        set_product_precision(compute(precision="bf32", device="auto"), torch.device("cuda"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "tf32"}, "precision is tf32 on device cpu"),
        ({"execution": "lazy", "precision": "bf16"}, "execution is lazy on device cpu"),
        ({"execution": "lazy", "device": "cuda"}, "execution is lazy on device cuda"),
        ({"ipex": True, "device": "cuda"}, "ipex is true on device cuda"),
    ],
)
def test_what_no_device_can_do_is_refused_before_any_job(changes, message):
    with pytest.raises((ConfigError, ValidationError), match=message):
        compute(**changes)


VERBOSE = """onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost and bfloat16 support
onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core_bf16,undef,src:bf16,,,2x2,1.5
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:bf16,,,2x2,0.5
onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core_bf16,undef,src:bf16,,,2x2,1.5
MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture
MKL_VERBOSE SGEMM(T,N,256,256,256,0x7fff30bdca90,0x55cc2a52a500,256) 19.20ms CNR:OFF
"""


def test_kernels_are_read_from_what_the_libraries_say():
    assert kernels_in(VERBOSE) == ["brg_matmul:avx512_core_bf16", "mkl:SGEMM"]
    assert kernels_in("") == []


def test_asking_for_the_kernels_leaves_standard_output_clean(capfd):
    sys.stdout.write("before, ")
    product_kernels(compute())
    sys.stdout.write("after")

    assert capfd.readouterr().out == "before, after"


CEILING = """
import json, sys
import torch
from bert.devices.device import choose_device, describe_device
from tests.test_execution import compute
config = compute(instruction_set=sys.argv[1], precision="bf16")
device = choose_device(config, 0)
print(json.dumps(describe_device(device, config)["product_kernels"]))
print(torch.backends.cpu.get_cpu_capability())
"""


def under_ceiling(name):
    command = [sys.executable, "-c", CEILING, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(FLAGS != "AVX512", reason="this machine has no AVX-512")
def test_a_ceiling_holds_in_the_kernels_that_run():
    """Of a bf16 product; each in a process of its own, after torch was imported."""
    avx2, avx512 = under_ceiling("avx2"), under_ceiling("avx512")

    assert avx2.endswith("AVX2\n")
    assert "avx512" not in avx2
    assert avx512.endswith("AVX512\n")
    assert "avx512_core_bf16" not in avx512
    assert "amx" not in avx512


@pytest.mark.skipif(FLAGS != "AVX512", reason="this machine has no AVX-512")
def test_a_ceiling_that_comes_too_late_is_refused(monkeypatch):
    for name in ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY"):
        monkeypatch.setenv(name, "")  # put back after the test

    with pytest.raises(ValueError, match="torch has computed with AVX512 before"):
        limit_instruction_set(compute(instruction_set="avx2"))


def test_a_ceiling_on_a_cpu_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")

    with pytest.raises(ValueError, match="this CPU is aarch64, and the sets are those of x86"):
        limit_instruction_set(compute(instruction_set="amx"))
