import mmap

import numpy as np
import torch

from bert.train.watch import Watch, give_back_memory, peak_memory_mb, resident_mb


def warned(watch, readings, every=10):
    """Steps at which a reading every `every` steps was warned of."""
    steps = range(every, every * len(readings) + 1, every)
    return [s for s, mb in zip(steps, readings, strict=True) if watch.memory(s, mb)]


def test_memory_that_stays_within_half_again_is_not_warned_of():
    assert warned(Watch(1), [400, 500, *[749] * 20]) == []


def test_growth_is_warned_of_at_the_third_reading_in_a_row():
    watch = Watch(1)

    assert warned(watch, [400, 500, 500, 751, 760, 770]) == [60]


def test_a_short_peak_is_no_growth():
    assert warned(Watch(1), [400, 500] + [900, 900, 500] * 5) == []


def test_a_leak_is_warned_of_again_and_a_single_growth_once():
    assert warned(Watch(1), [100, 100] + [200] * 30) == [50]
    assert warned(Watch(1), [100, 100, *range(100, 400, 10)]) == [110, 230]


def test_the_line_names_both_values():
    watch = Watch(1)
    lines = [watch.memory(step, mb) for step, mb in enumerate([1000.4] * 21 + [2000.0] * 3, 1)]

    assert lines[:-1] == [None] * 23
    assert "from 1,000 to 2,000 MB at step 24" in lines[-1]


def test_the_first_20_steps_count_from_where_this_process_began():
    watch = Watch(5001)

    assert not any(watch.memory(step, mb) for step, mb in [(5010, 100), (5020, 300), (5030, 440)])
    assert [bool(watch.memory(step, 460)) for step in (5040, 5050, 5060)] == [False, False, True]


def test_what_the_first_checkpoint_takes_is_expected_and_what_the_next_ones_take_is_not():
    watch = Watch(1)
    readings = [(10, 100), (20, 100), (30, 100), (40, 250), (50, 250), (60, 250), (70, 250)]
    watch.expect_growth("checkpoint", 30)
    assert not any(watch.memory(step, mb) for step, mb in readings)

    watch.expect_growth("checkpoint", 80)
    assert [bool(watch.memory(step, 500)) for step in (90, 100, 110)] == [False, False, True]


def test_throughput_below_half_its_median_is_warned_of_once_a_stretch():
    watch = Watch(1)
    speeds = [100, 110, 90, 100, 100, 51, 49, 30, 20, 100, 100, 45]

    lines = [watch.speed(step, speed) for step, speed in enumerate(speeds, 1)]

    assert [step for step, line in enumerate(lines, 1) if line] == [7, 12]
    assert lines[6].startswith("throughput fell to 49 tokens/s at step 7; the median so far is 100")


def test_the_first_readings_are_never_slow():
    watch = Watch(1)

    assert not any(watch.speed(step, speed) for step, speed in enumerate([100, 1, 100, 1, 1], 1))


def test_the_median_follows_a_lasting_change():
    watch = Watch(1)
    speeds = [100.0] * 60 + [40.0] * 110 + [21.0] * 3 + [19.0]

    lines = [watch.speed(step, speed) for step, speed in enumerate(speeds, 1)]

    assert [step for step, line in enumerate(lines, 1) if line] == [61, 174]


def test_readings_see_memory_that_is_taken_and_given_back():
    before = resident_mb()
    block = mmap.mmap(-1, 200_000_000)  # past malloc, which may keep what it has
    np.frombuffer(block, np.uint8)[:] = 1
    held = resident_mb()
    block.close()

    assert 190 < held - before < 230, "200 MB"
    assert resident_mb() < held - 150
    assert peak_memory_mb(torch.device("cpu")) >= held - 1


def test_memory_that_is_free_goes_back_to_the_system():
    """Many blocks with small ones between them, as a heap with gaps has; then the large ones go."""
    blocks = [bytearray(100_000) for _ in range(2000)]
    pins = [bytearray(100_000) for _ in range(4)]
    high = resident_mb()
    del blocks

    give_back_memory()

    assert len(pins) == 4
    assert resident_mb() < high - 100


def test_a_reading_is_high_only_after_the_warm_up():
    watch = Watch(0)
    assert not watch.is_high(25, 1000.0)
    watch.memory(1, 100.0)
    assert not watch.is_high(19, 1000.0)
    assert watch.is_high(25, 151.0)
    assert not watch.is_high(25, 149.0)
