from bert.devices.words import device_words


def test_a_device_is_told_with_what_is_so_and_without_what_is_not():
    facts = {
        "activation_checkpointing": False,
        "device": "cpu",
        "execution": "eager",
        "instruction_set": "AVX512",
        "instruction_set_limit": None,
        "ipex": True,
        "name": "AMD EPYC",
        "product_bits": 23,
        "product_kernels": ["mkl:SGEMM", "onednn:brg"],
        "threads": 2,
    }

    assert device_words(facts) == (
        "AMD EPYC, device cpu, instruction set AVX512, product bits 23, product kernels mkl:SGEMM "
        "and onednn:brg, threads 2, execution eager, ipex"
    )


def test_a_device_without_a_name_and_without_facts_is_nothing():
    assert device_words({}) == ""
    assert device_words({"device": "hpu", "product_kernels": []}) == "device hpu"
