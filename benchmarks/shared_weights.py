"""What shared weights are worth: rank correlation, hypervolume for the compute, throughput and memory.

    python benchmarks/shared_weights.py --store shared-weights.jsonl --out shared-weights.md

- rank: the shared weights of each backbone of a table (`tabulated/*.parquet`) are trained with several seeds,
  all members of the table are scored on them, and some dozens, evenly through every backbone's costs, are
  trained for a short time from them. Kendall's tau with the truth, the mean over the table's seeds; beside it
  the ceiling that the noise of this mean sets, one training against another, and GFLOPs alone.
- search: the default sampler from scratch, its trainings replayed, against shared weights: what training them
  and scoring all members takes comes first, then the best by promise are trained from scratch, replayed too.
  The front is chosen by from-scratch accuracies alone in both, and valued at the truth.
- throughput: shared scores of members of the default space, at its proxy's scale, two processes at a time.
- memory: the most that some steps take, plain or of shared weights, each in a process of its own.

Compute is processor time of one thread. A table's seconds are brought to those of this run by a few of its
trainings that are done again. Finished pieces are kept in `--store`, shared weights in `--work`: a run that
was cut off goes on where it stopped. Remove both after a change of code.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pieces import Piece, Row, run_all
from shared_costs import Memory, Throughput
from shared_hypervolume import search_text
from shared_readings import stratified
from shared_report import memory_text, rank_text, throughput_text
from shared_runs import Scratch, Search, Supernet, Warm, table_of

from octnas.machine import usable_cores
from octnas.space import load_space

HERE = Path(__file__).parent
PARTS = ("rank", "search", "throughput", "memory")
REPLICATIONS = 20
"""Searches from scratch; the shared weights' seeds take turns in as many of theirs."""
AGAIN = 3
"""Trainings of each backbone of a table that are done again for their seconds."""
MEMORY_STEPS = 240
MEMORY_REPEATS = 2


def main() -> None:
    """Runs the pieces that the store lacks, prints and writes the tables."""
    given = parsed()
    deadline = time.monotonic() + 60 * given.minutes
    supernets = {path: _supernets(path, given) for path in given.tables}
    warm = {path: _warm(path, supernets[path], given) for path in given.tables}
    scratch = {path: _scratch(path) for path in given.tables}
    searches = {
        path: [Search(table=path, seed=seed) for seed in range(REPLICATIONS)] for path in given.tables
    }
    space = load_space(given.space)
    common = {"space": given.space, "budget_gflops": given.budget_gflops}
    throughput = [
        Throughput(backbone=backbone, count=given.scored, worker=worker, **common)
        for backbone in space.feasible(given.budget_gflops).backbones
        for worker in range(given.processes)
    ]
    memory = [
        Memory(backbone=backbone, shared=shared, steps=MEMORY_STEPS, repeat=repeat, **common)
        for backbone in space.feasible(given.budget_gflops).backbones
        for repeat in range(MEMORY_REPEATS)
        for shared in (False, True)
    ]
    pieces: list[Piece] = []
    if "rank" in given.parts or "search" in given.parts:
        pieces += [piece for path in given.tables for piece in supernets[path]]
    if "rank" in given.parts:
        pieces += [piece for path in given.tables for piece in warm[path]]
    if "search" in given.parts:
        pieces += [piece for path in given.whole for piece in (*scratch[path], *searches[path])]
    run = {"store": given.store, "work": given.work, "deadline": deadline}
    done = run_all(pieces, processes=given.processes, **run)
    if "throughput" in given.parts:
        done |= run_all(throughput, processes=given.processes, **run)
    if "memory" in given.parts:
        done |= run_all(memory, processes=1, fresh=True, **run)
    texts: list[str] = []
    for path in given.tables:
        if "rank" in given.parts and _ready([*supernets[path], *warm[path]], done):
            texts.append(rank_text(table_of(path), supernets[path], warm[path], done))
        if (
            "search" in given.parts
            and path in given.whole
            and _ready([*supernets[path], *scratch[path], *searches[path]], done)
        ):
            texts.append(search_text(table_of(path), supernets[path], scratch[path], searches[path], done))
    if "throughput" in given.parts and _ready(throughput, done):
        texts.append(throughput_text(throughput, done))
    if "memory" in given.parts and _ready(memory, done):
        texts.append(memory_text(memory, done))
    text = "\n\n".join([heading(given), *texts])
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def heading(given: argparse.Namespace) -> str:
    """The command and the machine."""
    from machine import memory_gib, processor, versions

    from octnas import __version__

    memory = memory_gib()
    machine = [f"{processor()}, {usable_cores()} cores"]
    machine += [] if memory is None else [f"{memory:.0f} GiB"]
    return (
        f"`python benchmarks/shared_weights.py {' '.join(sys.argv[1:])}`".replace(" `", "`")
        + f" on {', '.join(machine)}; octnas {__version__}, {versions('torch', 'numpy')}. "
        f"{given.seeds} seeds of the shared weights; 95 % bootstrap intervals."
    )


def parsed() -> argparse.Namespace:
    """The arguments, checked."""
    from octnas.train.supernet import LENGTH

    tables = sorted(str(path) for path in (HERE / "tabulated").glob("*.parquet"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables", nargs="*", default=tables, metavar="FILE", help="default: all of tabulated/"
    )
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="of the shared weights")
    parser.add_argument("--architectures", type=int, default=60, help="trained from shared weights")
    parser.add_argument("--fine-tune", type=int, default=1, help="epochs of these trainings")
    parser.add_argument("--length", type=float, default=LENGTH, help="of the shared weights' training")
    parser.add_argument("--randoms", type=int, default=1, help="drawn for a plain and a cheapest one")
    parser.add_argument("--together", action="store_true", help="all of them in each step")
    parser.add_argument("--distill", type=float, default=0.0, help="together: from the plain one")
    parser.add_argument("--images", type=int, default=2000, help="validation images of a shared score")
    parser.add_argument("--space", default="imagenet-2d", help="of throughput and memory")
    parser.add_argument("--budget-gflops", type=float, default=2.0, help="the same")
    parser.add_argument("--scored", type=int, default=12, help="architectures of each backbone and process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no piece later")
    parser.add_argument("--store", type=Path, default=Path("shared-weights.jsonl"))
    parser.add_argument("--work", type=Path, default=Path("shared-weights"), help="folder of the weights")
    parser.add_argument("--out", type=Path, help="Markdown file; it is printed anyway")
    given = parser.parse_args()
    missing = [name for name in given.tables if not Path(name).is_file()]
    if missing:
        parser.error(f"there is no table {', '.join(missing)}")
    # Only where everything within the budget was trained can a search be replayed.
    given.whole = [path for path in given.tables if _is_whole(path)]
    return given


def _is_whole(path: str) -> bool:
    table = table_of(path)
    return bool(table.size == table.space.feasible(table.budget_gflops).size)


def _supernets(path: str, given: argparse.Namespace) -> list[Supernet]:
    table = table_of(path)
    return [
        Supernet(
            table=path,
            backbone=backbone,
            seed=seed,
            length=given.length,
            randoms=given.randoms,
            together=given.together,
            distill=given.distill,
            images=given.images,
        )
        for seed in range(given.seeds)
        for backbone in table.space.backbones
        if table.of(backbone)
    ]


def _warm(path: str, supernets: Sequence[Supernet], given: argparse.Namespace) -> list[Warm]:
    table = table_of(path)
    picked = stratified(
        {each: table.of(each) for each in table.space.backbones if table.of(each)}, given.architectures
    )
    return [
        Warm(supernet=supernet, digest=architecture.digest, epochs=given.fine_tune)
        for supernet in supernets
        for architecture in picked
        if architecture.backbone == supernet.backbone
    ]


def _scratch(path: str) -> list[Scratch]:
    table = table_of(path)
    members = {each: table.of(each) for each in table.space.backbones if table.of(each)}
    return [Scratch(table=path, digest=each.digest) for each in stratified(members, AGAIN * len(members))]


def _ready(pieces: Sequence[Piece], done: dict[str, Row]) -> bool:
    left = sum(piece.key not in done for piece in pieces)
    if left:
        print(
            f"{left} pieces of {type(pieces[-1]).__name__} and what it needs are left: no table",
            file=sys.stderr,
        )
    return not left


if __name__ == "__main__":
    main()
