"""Reads what `npm run batches` wrote: batches as tuples of int64 tensors."""

import os

import numpy as np
import torch


def batches(folder, name):
    """Yields the batches of a file, in its order."""
    values = np.fromfile(os.path.join(folder, name), "<i4")
    at = 0
    while at < len(values):
        columns, at = values[at], at + 1
        shapes = []
        for _ in range(columns):
            rank = values[at]
            shapes.append(tuple(values[at + 1 : at + 1 + rank]))
            at += 1 + rank
        batch = []
        for shape in shapes:
            size = int(np.prod(shape))
            batch.append(torch.from_numpy(values[at : at + size].astype(np.int64).reshape(shape)))
            at += size
        yield tuple(batch)
