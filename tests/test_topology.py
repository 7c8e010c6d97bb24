"""Cores of machines that are described in a folder as Linux describes them."""

import pytest

from bert.ranks.topology import count_nodes, divide, format_list, parse_list, read_cores, words


def describe(folder, nodes, *, sockets=1, siblings=None, name="core_cpus_list"):
    """Writes a machine: CPU lists of its nodes, and the hardware threads of each core."""
    for number, cpus in enumerate(nodes):
        (folder / "node" / f"node{number}").mkdir(parents=True)
        (folder / "node" / f"node{number}" / "cpulist").write_text(f"{cpus}\n")
        for cpu in parse_list(cpus):
            topology = folder / "cpu" / f"cpu{cpu}" / "topology"
            topology.mkdir(parents=True)
            (topology / "physical_package_id").write_text(f"{number * sockets // len(nodes)}\n")
            (topology / name).write_text(siblings(cpu) if siblings else f"{cpu}\n")
    return folder


@pytest.fixture
def server(tmp_path):
    """Two sockets, two nodes each, 28 cores a node, two threads a core: 0-111, and 112-223."""
    nodes = [f"{28 * n}-{28 * n + 27},{112 + 28 * n}-{139 + 28 * n}" for n in range(4)]
    return describe(
        tmp_path, nodes, sockets=2, siblings=lambda cpu: f"{cpu % 112},{cpu % 112 + 112}\n"
    )


def sizes(shares):
    return [len(share) for share in shares]


def nodes_of(shares):
    return [sorted({core.node for core in share}) for share in shares]


def test_a_server_has_its_cores_by_socket_and_node(server):
    cores = read_cores(range(224), server)

    assert len(cores) == 112
    assert cores[0] == (0, 0, (0, 112))
    assert cores[-1] == (1, 3, (111, 223))
    assert [core.socket for core in cores] == [0] * 56 + [1] * 56
    assert count_nodes(cores) == 4


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (1, [[0, 1, 2, 3]]),
        (2, [[0, 1], [2, 3]]),
        (4, [[0], [1], [2], [3]]),
        (8, [[0], [0], [1], [1], [2], [2], [3], [3]]),
    ],
)
def test_ranks_that_divide_the_nodes_get_whole_ones_or_parts_of_one(server, ranks, expected):
    shares = divide(read_cores(range(224), server), ranks)

    assert nodes_of(shares) == expected
    assert sizes(shares) == [112 // ranks] * ranks


def test_other_numbers_of_ranks_get_as_many_consecutive_cores_each(server):
    cores = read_cores(range(224), server)

    shares = divide(cores, 3)

    assert sizes(shares) == [37, 37, 38]
    assert [core for share in shares for core in share] == cores


def test_a_share_holds_both_threads_of_its_cores(server):
    share = divide(read_cores(range(224), server), 4)[1]

    assert words(share) == "CPUs 28-55,140-167 (NUMA node 1)"


def test_only_allowed_cpus_are_seen(server):
    """A job that was given 4 cores of the first socket and half a core of the second."""
    cores = read_cores({0, 1, 112, 113, 28, 29, 200}, server)

    assert [core.cpus for core in cores] == [(0, 112), (1, 113), (28,), (29,), (200,)]
    assert count_nodes(cores) == 3
    assert words(cores) == "CPUs 0-1,28-29,112-113,200 (NUMA nodes 0-1,3)"


def test_a_small_rest_of_a_node_is_no_share_of_its_own(server):
    """28 cores of one node and 4 of another: the rank on 4 would be waited for."""
    shares = divide(read_cores(range(32), server), 2)

    assert sizes(shares) == [16, 16]


def test_nodes_that_differ_by_a_core_stay_whole(server):
    """One core of a node is kept for the system, or offline."""
    shares = divide(read_cores(set(range(56)) - {30, 31}, server), 2)

    assert nodes_of(shares) == [[0], [1]]
    assert sizes(shares) == [28, 26]


def test_more_ranks_than_cores_leave_some_without(server):
    assert sorted(sizes(divide(read_cores({0, 1}, server), 3))) == [0, 1, 1]


def test_a_node_of_memory_alone_counts_for_nothing(tmp_path):
    cores = read_cores(range(4), describe(tmp_path, ["0-1", "2-3", ""]))

    assert count_nodes(cores) == 2
    assert nodes_of(divide(cores, 2)) == [[0], [1]]


def test_a_cpu_that_is_offline_has_no_folder_and_is_no_sibling(tmp_path):
    """CPU 3, the second thread of core 1, is off: the kernel lists it nowhere."""
    machine = describe(tmp_path, ["0-2"], siblings={0: "0,2", 1: "1", 2: "0,2"}.get)

    assert [core.cpus for core in read_cores({0, 1, 2}, machine)] == [(0, 2), (1,)]


def test_cores_without_second_threads_and_without_a_known_socket(tmp_path):
    """As ARM servers are: the socket of a core may be -1."""
    machine = describe(tmp_path, ["0-63", "64-127"])
    for file in machine.glob("cpu/*/topology/physical_package_id"):
        file.write_text("-1\n")

    cores = read_cores(range(128), machine)

    assert len(cores) == 128
    assert sizes(divide(cores, 2)) == [64, 64]
    assert nodes_of(divide(cores, 2)) == [[0], [1]]


def test_two_sockets_that_the_firmware_made_one_node_are_still_two_shares(tmp_path):
    machine = describe(tmp_path, ["0-7"])
    for cpu in range(8):
        file = machine / "cpu" / f"cpu{cpu}" / "topology" / "physical_package_id"
        file.write_text(f"{cpu % 2}\n")  # numbered in turn, as some machines do

    cores = read_cores(range(8), machine)

    assert count_nodes(cores) == 1
    assert [[core.cpus[0] for core in share] for share in divide(cores, 2)] == [
        [0, 2, 4, 6],
        [1, 3, 5, 7],
    ]


def test_an_old_kernel_names_the_threads_of_a_core_otherwise(tmp_path):
    machine = describe(
        tmp_path,
        ["0-3"],
        siblings=lambda cpu: f"{cpu % 2},{cpu % 2 + 2}",
        name="thread_siblings_list",
    )

    assert [core.cpus for core in read_cores(range(4), machine)] == [(0, 2), (1, 3)]


def test_a_system_that_tells_nothing_has_one_node_of_single_cores(tmp_path):
    cores = read_cores({3, 1}, tmp_path)

    assert cores == [(0, 0, (1,)), (0, 0, (3,))]
    assert count_nodes(cores) == 1


@pytest.mark.parametrize(
    ("text", "numbers"), [("", []), ("0", [0]), ("0-2,5", [0, 1, 2, 5]), ("1,3", [1, 3])]
)
def test_lists_are_the_kernels(text, numbers):
    assert parse_list(f"{text}\n") == set(numbers)
    assert format_list(numbers) == text
