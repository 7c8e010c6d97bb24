"""A disk that runs full: one line says so, nothing partial is left, and room makes it good."""

from contextlib import suppress

import pytest

from tests.extracted import content
from tests.mounts import small_disk
from tests.stages import STAGES, Run, as_text, plain_documents, run_apart, run_here

PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("whole") / "run")
    return run.give({"a.txt": as_text(plain_documents(900))}).make("generate", *STAGES)


def output_files(path):
    return [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]


def size_of(whole, job, out):
    """Bytes of the whole outputs, in pages."""
    paths = [whole.folder / path.relative_to(out) for path in job.outputs]
    sizes = [file.stat().st_size for path in paths for file in output_files(path)]
    return sum(-(-size // PAGE) * PAGE for size in sizes)


def fill(folder, left):
    """Takes all room but `left` bytes; returns the file to delete."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        with suppress(OSError):
            while stream.write(bytes(PAGE)):
                pass
        stream.truncate(stream.tell() // PAGE * PAGE - left // PAGE * PAGE)
    return ballast


def partial_files(out):
    """Files under a temporary name; whole units that a job keeps for its next start are none."""
    return [path for path in out.rglob("*") if ".tmp" in path.name or path.name.startswith("tmp")]


def check_nothing_partial(whole, job, out):
    """Of several outputs the first ones may be there, whole; the last one, the receipt, is not."""
    check_whole(whole, job, out, [path for path in job.outputs if path.exists()])
    assert not job.outputs[-1].exists()
    assert not partial_files(out)


def check_whole(whole, job, out, outputs):
    for path in outputs:
        made = whole.folder / path.relative_to(out)
        if path.is_dir():
            assert content(path) == content(made)
        else:
            assert path.read_bytes() == made.read_bytes()


@pytest.mark.parametrize("stage", ["generate", *STAGES])
@pytest.mark.parametrize("share", [0.05, 0.9])
def test_a_full_disk_is_named_and_room_makes_it_good(whole, tmp_path, stage, share):
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        out = disk / "out"
        out.mkdir()
        job = whole.jobs(stage, out=out)[0]
        ballast = fill(disk, int(share * size_of(whole, job, out)))

        with pytest.raises(OSError, match="No space left on device") as error:
            run_here(job)

        assert "\n" not in str(error.value)
        check_nothing_partial(whole, job, out)
        ballast.unlink()
        run_here(job)
        check_whole(whole, job, out, job.outputs)


@pytest.mark.parametrize("stage", ["extract", "encode", "shard", "dialect"])
def test_the_script_ends_with_one_line_though_its_log_has_no_room_either(whole, tmp_path, stage):
    with small_disk(tmp_path / "disk", 64 << 20) as disk:
        out = disk / "out"
        out.mkdir()
        job = whole.jobs(stage, out=out)[0]
        ballast = fill(disk, size_of(whole, job, out) // 2)
        log = disk / "logs" / f"{stage}.log"
        job = job._replace(arguments=[*job.arguments, "--log", str(log)])

        done = run_apart(job)

        assert done.returncode == 1
        said = [line for line in done.stderr.splitlines() if " step " not in line]
        assert len(said) == 1, done.stderr
        assert "No space left on device" in said[0]
        check_nothing_partial(whole, job, out)
        ballast.unlink()
        again = run_apart(job)
        assert again.returncode == 0, again.stderr
        check_whole(whole, job, out, job.outputs)
