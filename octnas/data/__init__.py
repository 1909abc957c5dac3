"""Images to train on: embedded, public, or a folder; in memory or streamed; and their augmentation."""

from octnas.data.augment import augment, normalise
from octnas.data.load import IMAGE_SETS, load_images
from octnas.data.sets import ImageSet, MemorySplit, Split
from octnas.data.streamed import StreamedSplit

__all__ = [
    "IMAGE_SETS",
    "ImageSet",
    "MemorySplit",
    "Split",
    "StreamedSplit",
    "augment",
    "load_images",
    "normalise",
]
