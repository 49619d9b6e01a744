"""Draws the embedded 5,000 images from the training part of Fashion-MNIST.

usage: make_embedded_data.py [--folder IDX_FOLDER] [--output FILE.npz]

IDX_FOLDER holds the four idx files (Debian's package `dataset-fashion-mnist`, which is the default,
or https://github.com/zalandoresearch/fashion-mnist). Run twice, it writes the same bytes; another
zlib may compress to other bytes, so what the program checks on load is the SHA-256 of the arrays.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.fashion_mnist_5k import FILE, SHA256
from pruneaudit.data.idx_images import (
    DEBIAN_FOLDER,
    FASHION_MNIST,
    file_names,
    find_folder,
    missing_files,
    read_part,
)

SEED = 20170828  # the day that Fashion-MNIST was put on arXiv
NUM_TRAIN = 60_000
NUM_PER_CLASS = 500


def balanced_rows(labels: np.ndarray) -> np.ndarray:
    """Rows (5000,) of 500 training images of each class, in ascending order."""
    generator = numpy_generator(SEED, seeds.EMBEDDED_IMAGES)
    num_classes = len(FASHION_MNIST.classes)
    rows = [generator.permutation(np.flatnonzero(labels == label))[:NUM_PER_CLASS] for label in range(num_classes)]
    return np.sort(np.concatenate(rows))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz file without clock or machine in it: fixed time, fixed attributes, fixed order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def main() -> int:
    parser = argparse.ArgumentParser(description="Draws the embedded 5,000 images from Fashion-MNIST.")
    parser.add_argument("--folder", type=Path, default=DEBIAN_FOLDER, help="where the idx files are")
    parser.add_argument("--output", type=Path, default=FILE, help="the .npz file to write")
    arguments = parser.parse_args()
    try:
        folder = find_folder(FASHION_MNIST, arguments.folder, arguments.folder, file_names("train")[0])
        if folder is None:
            raise UserError(missing_files(FASHION_MNIST, arguments.folder))
        images, labels = read_part(folder, "train", NUM_TRAIN)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows = balanced_rows(labels)
    arrays = {"x": images[rows], "y": labels[rows]}  # (5000, 28, 28), (5000,)
    write_npz(arguments.output, arrays)
    found = sha256_of_arrays(arrays)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes, arrays {found}")
    if found != SHA256:
        print(f"these are not the arrays that fashion_mnist_5k.py expects ({SHA256})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
