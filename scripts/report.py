"""Lays out metrics, receipts and benchmarks of a run as one page, and gathers its scores."""

import argparse
from pathlib import Path

from bert import log
from bert.config import load_section, load_values
from bert.manifest import atomic_directory, write_manifest
from bert.report.config import ReportConfig
from bert.report.page import write_report
from bert.report.run import read_run
from bert.tasks.gate import GateConfig


def main() -> None:
    """Reads a run folder and writes its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="resolved section `report`")
    parser.add_argument("--gate", type=Path, required=True, help="resolved section `gate`")
    parser.add_argument("--jobs", type=Path, help="stage to its jobs (JSON); default: all found")
    parser.add_argument("--results", type=Path, required=True, help="folder of the run")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    config = load_section(ReportConfig, args.config)
    gate = load_section(GateConfig, args.gate)
    run = read_run(args.results, load_values(args.jobs) if args.jobs else None)
    with atomic_directory(args.output) as folder:
        write_manifest(
            folder / "manifest.json",
            stage="report",
            config=config.model_dump() | {"gate": gate.model_dump()},
            inputs=run.digests,
            counts={"files": len(run.digests)},
            outputs=write_report(run, config, gate, folder),
        )


if __name__ == "__main__":
    main()
