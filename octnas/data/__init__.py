"""Images and clips to train on: embedded, public, or a folder; in memory or streamed; their augmentation."""

from octnas.data.augment import augment, normalise
from octnas.data.clip_sets import CLIP_SETS
from octnas.data.drawn_clips import DrawnClips
from octnas.data.load import IMAGE_SETS, load_images
from octnas.data.load_clips import DataKind, kind_of, load_clips, load_data
from octnas.data.memory_clips import MemoryClips
from octnas.data.sets import ImageSet, MemorySplit, Split
from octnas.data.streamed import StreamedSplit

__all__ = [
    "CLIP_SETS",
    "IMAGE_SETS",
    "DataKind",
    "DrawnClips",
    "ImageSet",
    "MemoryClips",
    "MemorySplit",
    "Split",
    "StreamedSplit",
    "augment",
    "kind_of",
    "load_clips",
    "load_data",
    "load_images",
    "normalise",
]
