import subprocess
import sys
from pathlib import Path

import numpy as np

from bert.manifest import ROOT
from bert.text.mapped import map_zeros


def test_what_is_written_to_the_array_stands_in_the_file(tmp_path: Path) -> None:
    array = map_zeros(tmp_path / "a", np.uint32, 1000)
    assert array.shape == (1000,)
    assert not array.any()
    array[7] = 258
    assert (tmp_path / "a").stat().st_size == 4000
    assert np.fromfile(tmp_path / "a", np.uint32)[7] == 258


def test_no_room_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    code = "import numpy, pathlib, sys; from bert.text.mapped import map_zeros as m; "
    code += "m(pathlib.Path(sys.argv[1]), numpy.uint8, 10_000_000)"
    limited = ["bash", "-c", 'ulimit -f 1000 && exec "$@"', "bash", sys.executable, "-c", code]
    done = subprocess.run(
        [*limited, str(tmp_path / "a")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "OSError: [Errno 27] File too large" in done.stderr
