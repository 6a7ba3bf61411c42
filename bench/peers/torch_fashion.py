"""The recipe `fashion` in PyTorch: the same network, data, changes of images, optimizer and schedule.

usage: OMP_NUM_THREADS=2 python3 torch_fashion.py FOLDER [EPOCHS [SEED [IMAGES]]]
FOLDER has the four IDX files, packed or not; IMAGES limits the training data. Prints a line for each epoch, and what `glissade train
fashion --epochs EPOCHS` is held against: accuracy on the 10,000 test images, and seconds. Debian: python3-torch libopenblas0-pthread.
"""

import gzip
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def idx(folder, name):
    path = os.path.join(folder, name)
    opened = open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz")
    with opened as file:
        data = file.read()
    axes = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def load(folder, part):
    images = idx(folder, f"{part}-images-idx3-ubyte").astype(np.float32)[:, None] / 255
    return torch.from_numpy(images), torch.from_numpy(idx(folder, f"{part}-labels-idx1-ubyte").astype(np.int64))


def network(dropout):
    def block(inputs, outputs):
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    head = nn.Linear(1152, 10)
    nn.init.xavier_normal_(head.weight)
    return nn.Sequential(*block(1, 32), *block(32, 64), *block(64, 128), nn.Flatten(), nn.Dropout(dropout), head)


def changed(images, most, random):
    """Each image moved by up to `most` whole pixels, every second turned left to right."""
    count, _, height, width = images.shape
    padded = F.pad(images, (most, most, most, most)).numpy()
    out = np.empty(images.shape, np.float32)
    moves = random.integers(0, 2 * most + 1, (count, 2))
    flips = random.random(count) < 0.5
    for i in range(count):
        dy, dx = moves[i]
        view = padded[i, :, dy : dy + height, dx : dx + width]
        out[i] = view[:, :, ::-1] if flips[i] else view
    return torch.from_numpy(out)


def main():
    folder = sys.argv[1]
    epochs, seed, most = (int(sys.argv[i]) if len(sys.argv) > i else usual for i, usual in [(2, 14), (3, 0), (4, 60000)])
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    x, y = (part[:most] for part in load(folder, "train"))
    tx, ty = load(folder, "t10k")
    batch, rate = 128, 0.003
    steps = math.ceil(len(x) / batch)
    model = network(0.2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)

    def scheduled(step):
        if step < steps:
            return (step + 1) / (steps + 1)
        return (1 + math.cos(math.pi * min(1, (step - steps) / max(1, (epochs - 1) * steps)))) / 2

    started = time.perf_counter()
    step = 0
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        order = torch.randperm(len(x))
        for part in order.split(batch):
            for group in optimizer.param_groups:
                group["lr"] = rate * scheduled(step)
            loss = F.cross_entropy(model(changed(x[part], 1, random)), y[part])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(part)
            step += 1
        model.eval()
        with torch.no_grad():
            right = sum((model(a).argmax(1) == b).sum().item() for a, b in zip(tx.split(500), ty.split(500)))
        seconds = time.perf_counter() - started
        print(f"epoch {epoch}/{epochs}  loss {total / len(x):.4f}  accuracy {100 * right / len(tx):.2f}%  {seconds:.1f} s", flush=True)


main()
