"""Makes `octnas/data/embedded/fashion.npz` and `fashion.json`: 30,000 images of Fashion-MNIST.

Run it on Debian with the package `dataset-fashion-mnist` installed (or point --source at a folder with the
four `*-ubyte.gz` files of Fashion-MNIST):

    python benchmarks/embedded_fashion.py --to octnas/data/embedded

The 60,000 official training images, without those that occur twice or again among the official test
images, give 10,000 training and 14,000 validation images; the official test images give 6,000. Every split
has the ten classes in equal shares.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np

COUNTS = {"train": 10_000, "val": 14_000, "test": 6_000}
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PACKAGE = "dataset-fashion-mnist"


def read(source: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 28, 28) and labels uint8 (N,) of an official IDX pair."""
    images = gzip.decompress((source / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((source / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(
        labels, np.uint8, offset=8
    )


def distinct(images: np.ndarray, forbidden: set[bytes]) -> np.ndarray:
    """Indices of the first occurrence of each image that is not in `forbidden`, which it extends."""
    kept = []
    for i, image in enumerate(images):
        key = image.tobytes()
        if key not in forbidden:
            forbidden.add(key)
            kept.append(i)
    return np.array(kept)


def balanced(
    labels: np.ndarray, pool: np.ndarray, counts: list[int], rng: np.random.Generator
) -> list[np.ndarray]:
    """Disjoint shuffled index sets from `pool`, each with every class in equal shares."""
    parts: list[list[np.ndarray]] = [[] for _ in counts]
    for label in range(len(CLASSES)):
        members = rng.permutation(pool[labels[pool] == label])
        start = 0
        for part, count in zip(parts, counts, strict=True):
            share = count // len(CLASSES)
            part.append(members[start : start + share])
            start += share
    return [rng.permutation(np.concatenate(part)) for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--to", type=Path, default=Path("octnas/data/embedded"))
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    seen: set[bytes] = set()
    test_images, test_labels = read(options.source, "t10k")
    (test,) = balanced(test_labels, distinct(test_images, seen), [COUNTS["test"]], rng)
    images, labels = read(options.source, "train")
    train, val = balanced(labels, distinct(images, seen), [COUNTS["train"], COUNTS["val"]], rng)
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "val_images": images[val],
        "val_labels": labels[val],
        "test_images": test_images[test],
        "test_labels": test_labels[test],
    }
    np.savez_compressed(options.to / "fashion.npz", **arrays)
    query = ["dpkg-query", "-W", "-f", "${Version}", PACKAGE]
    version = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    record = {
        "name": "fashion-sample",
        "seed": options.seed,
        "size": 28,
        "classes": CLASSES,
        "counts": COUNTS,
        "licence": "MIT",
        "copyright": "2017, Zalando SE",
        "source": "https://github.com/zalandoresearch/fashion-mnist",
        "debian_package": PACKAGE,
        "debian_version": version,
        "sha256": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
        "script": "benchmarks/embedded_fashion.py",
    }
    (options.to / "fashion.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
