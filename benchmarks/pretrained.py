"""Is a state dict that torchvision saved of use at other alphas, without training it again?

    python benchmarks/pretrained.py --out pretrained.md
    python benchmarks/pretrained.py --seeds 5 --store pretrained.jsonl --work weights

Trains torchvision's own resnet18 on photographs of clothing (fashion-sample, 128 px, three equal channels)
and saves its state dict with `torch.save`. That file then runs at alpha 0, .25, .5 and .75, on gray images:

- as it is: `read_state`, `fitted_state`, nothing else;
- recalibrated: batch-norm statistics estimated on 512 training images, no weight changed;
- fine-tuned: one epoch of the proxy of the space `pretrained-2d` that begins from the file;
- from scratch: the same epoch from fresh weights, at two of the alphas.

Layers without low channels stride, as torchvision's do; "0, pooled" pools instead, which shows what of a
loss is pooling's. One seed is one state dict and one order of the images; accuracies are of the same images
everywhere. With `--store` what is done is kept, and a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import gpus, processor, versions
from main_job import table
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from octnas import Architecture, __version__, cost
from octnas.architecture import Downsample
from octnas.data import ImageSet, load_images
from octnas.machine import usable_cores
from octnas.nn import build
from octnas.space import load_space
from octnas.train import Mode, ProxyTraining, TrainSettings, evaluate_network, mode_of, settings_from_proxy
from octnas.train.evaluate import to_input
from octnas.train.pretrained import fitted_state, read_state
from octnas.train.recalibrate import calibration_batches, recalibrate
from octnas.train.schedule import learning_rate

ALPHAS: tuple[tuple[str, float, Downsample], ...] = (
    ("0", 0.0, "strided"),
    ("0, pooled", 0.0, "pooled"),
    ("0.25", 0.25, "strided"),
    ("0.5", 0.5, "strided"),
    ("0.75", 0.75, "strided"),
)
"""Name, alpha everywhere, and what layers without low channels do."""
OWN: tuple[str, float, Downsample] = ("torchvision", 0.0, "strided")
STATES = ("as it is", "recalibrated", "fine-tuned", "from scratch")
FROM_SCRATCH = ("0", "0.5")
SPACE = "pretrained-2d"
EPOCHS, RATE, TRAINED = 3, 0.001, 5000
"""Of torchvision's network: passes, highest learning rate, images."""


class Gray(nn.Module):
    """torchvision's network on gray images, as three equal channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.expand(-1, 3, -1, -1))
        return logits


def torchvisions(data: ImageSet, mode: Mode, *, seed: int, batch_size: int = 32) -> nn.Module:
    """torchvision's resnet18, trained on the data."""
    from torchvision.models import resnet18

    torch.manual_seed(seed)
    network: nn.Module = resnet18(num_classes=len(data.classes)).to(memory_format=torch.channels_last).train()
    forward = Gray(network)
    split = data.train.subset(min(TRAINED, len(data.train)), seed)
    steps = len(split) // batch_size
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    for step in range(EPOCHS * steps):
        if step % steps == 0:
            order = torch.randperm(len(split)).numpy()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, total=EPOCHS * steps, peak=RATE, warmup=0.05)
        chosen = order[step % steps * batch_size :][:batch_size]
        images, labels = next(iter(split.batches(batch_size, order=chosen)))
        with mode.autocast():
            logits = forward(to_input(images, mean=data.mean, std=data.std, mode=mode))
        optimizer.zero_grad()
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def accuracies(network: nn.Module, data: ImageSet, mode: Mode) -> dict[str, float]:
    """On validation and test images."""
    assert data.test is not None
    return {
        name: evaluate_network(network, split, mean=data.mean, std=data.std, mode=mode)[0]
        for name, split in (("val", data.val), ("test", data.test))
    }


def states(
    path: Path,
    architecture: Architecture,
    data: ImageSet,
    settings: TrainSettings,
    *,
    seed: int,
    scratch: bool,
) -> dict[str, dict[str, float]]:
    """Accuracies of an architecture with the weights in a file: as it is, recalibrated, fine-tuned; and of
    the same training without them."""
    mode = mode_of(settings)
    state, _ = fitted_state(
        read_state(path), architecture, num_classes=len(data.classes), in_channels=1, name=path.name
    )
    network = build(architecture, len(data.classes), 1).to(memory_format=torch.channels_last)
    network.load_state_dict(state)
    found = {"as it is": accuracies(network, data, mode)}
    recalibrate(network, calibration_batches(data.train, data, mode), mode=mode)
    found["recalibrated"] = accuracies(network, data, mode)
    for name, initial in (("fine-tuned", state), *([("from scratch", None)] if scratch else [])):
        training = ProxyTraining(architecture, data, settings, seed=seed, initial=initial)
        training.train_steps(settings.step_bounds(len(data.train))[-1])
        found[name] = accuracies(training.network, data, mode)
    return found


def rows(seeds: int, *, images: int, store: Path | None, work: Path) -> list[dict[str, Any]]:
    """A row a seed and network."""
    done = [json.loads(line) for line in store.read_text().splitlines()] if store and store.exists() else []
    proxy = load_space(SPACE).proxy
    data = load_images(proxy.data, size=proxy.input_size)
    assert data.test is not None
    everything = data.train
    data = replace(data, val=data.val.subset(images, 0), test=data.test.subset(images, 0))
    whole = settings_from_proxy(proxy, data)
    settings = replace(whole, epochs=1, val_images=None)
    data = replace(data, train=data.train.subset(whole.train_images or len(data.train), 0))
    mode = mode_of(settings)
    work.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        path = work / f"resnet18-seed{seed}.pth"
        for label, alpha, downsample in (OWN, *ALPHAS):
            if any((row["seed"], row["label"]) == (seed, label) for row in done):
                continue
            begin = time.perf_counter()
            architecture = Architecture.uniform("resnet18", alpha=alpha, downsample=downsample)
            if label == "torchvision":
                network = torchvisions(replace(data, train=everything), mode, seed=seed)
                torch.save(network.state_dict(), path)
                found = {"as it is": accuracies(Gray(network), data, mode)}
            else:
                scratch = label in FROM_SCRATCH
                found = states(path, architecture, data, settings, seed=seed, scratch=scratch)
            gflops = cost(architecture, input_shape=(1, data.size, data.size), num_classes=10).gflops
            row = {"seed": seed, "label": label, "gflops": gflops, "states": found}
            done.append({**row, "seconds": time.perf_counter() - begin})
            if store:
                with store.open("a") as lines:
                    lines.write(json.dumps(done[-1]) + "\n")
            print(f"seed {seed}, {label}: {found}", flush=True)
    return done


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval of the mean (Student's t), in per cent; empty where there are none."""
    if not values:
        return ""
    if len(values) < 2:
        return f"{100 * values[0]:.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.mean(values):.1f} ± {100 * half:.1f}"


def lost(done: Sequence[Mapping[str, Any]], label: str, state: str, split: str = "test") -> str:
    """How much less than torchvision's own network, seed by seed, in points with its 95 % interval."""
    own = {row["seed"]: row["states"]["as it is"][split] for row in done if row["label"] == "torchvision"}
    mine = [row for row in done if row["label"] == label and state in row["states"]]
    here = {row["seed"]: row["states"][state][split] for row in mine}
    return interval([here[seed] - own[seed] for seed in sorted(here)])


def report(done: Sequence[Mapping[str, Any]], *, images: int) -> str:
    seeds = len({row["seed"] for row in done})
    lines = [
        f"{processor()}, {usable_cores()} cores, GPU: {', '.join(gpus()) or 'none'}; octnas {__version__}, "
        f"{versions('torch', 'torchvision')}. {seeds} seeds; means with 95 % intervals, per cent, of "
        f"{images:,} images each.",
        "",
    ]
    for split, words in (("val", "Validation"), ("test", "Test")):
        body = []
        for label in ("torchvision", *(each[0] for each in ALPHAS)):
            mine = [row for row in done if row["label"] == label]
            name = "torchvision's own network" if label == "torchvision" else f"alpha {label}"
            cells = [
                interval([row["states"][state][split] for row in mine if state in row["states"]])
                for state in STATES
            ]
            body.append([name, f"{mine[0]['gflops']:.3f}", *cells])
        header = ["network", "GFLOPs at 128 px", *STATES]
        lines += [f"{words} accuracy:", "", table(header, body), ""]
    body = [[f"alpha {label}", *(lost(done, label, state) for state in STATES)] for label, *_ in ALPHAS]
    lines += [
        "Test accuracy less torchvision's own, seed by seed, points:",
        "",
        table(["network", *STATES], body),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000, help="validation and test images, each")
    parser.add_argument("--store", type=Path, help="JSON lines of what is done, to go on from")
    parser.add_argument(
        "--work", type=Path, default=Path("pretrained-weights"), help="for torchvision's files"
    )
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    given = parser.parse_args()
    done = rows(given.seeds, images=given.images, store=given.store, work=given.work)
    text = report(done, images=given.images)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
