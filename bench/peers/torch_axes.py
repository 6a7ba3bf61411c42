"""PyTorch's side of `npm run axes`: the networks of bench/axes.ts over many sizes, in memory.

usage: OMP_NUM_THREADS=1 python3 torch_axes.py NETWORK one|many
Writes one JSON line: the most memory that was resident, in megabytes. Debian: python3-torch and libopenblas0-pthread.
"""

import json
import resource
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_steps import Block


def mlp_model():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def mlp():
    m = mlp_model()
    return m, lambda n: F.cross_entropy(m(torch.randn(n, 784)), torch.randint(0, 10, (n,)))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.LSTM(32, 128, 2), nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.body(x)[0])


def lstm():
    m = Lstm()
    return m, lambda n: F.cross_entropy(m(torch.randn(n, 16, 32)).view(-1, 10), torch.randint(0, 10, (16 * n,)))


def encoder():
    m = nn.Sequential(Block(128, 4, 512), Block(128, 4, 512), nn.Linear(128, 10))
    return m, lambda n: F.cross_entropy(m(torch.randn(n, 32, 128)).view(-1, 10), torch.randint(0, 10, (32 * n,)))


def numbers():
    m = mlp_model()
    x, y = torch.randn(64, 784), torch.randint(0, 10, (64,))
    return m, lambda rate: F.cross_entropy(m(x), y) * rate


NETWORKS = {"mlp": mlp, "lstm": lstm, "encoder": encoder, "numbers": numbers}
SIZES = {
    "mlp": [3 + 4 * i for i in range(100)],
    "lstm": [5 + round(i * 250 / 99) for i in range(100)],
    "encoder": [2 + i for i in range(100)],
    "numbers": [0.1 / (i + 1) for i in range(400)],
}

name, mode = sys.argv[1:]
torch.manual_seed(1)
model, loss = NETWORKS[name]()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
sizes = SIZES[name]
order = [sizes[(i * 37 + 11) % len(sizes)] for i in range(len(sizes))] * 2
for size in order if mode == "many" else sizes[-1:] * 21:
    optimizer.zero_grad()
    loss(size).backward()
    optimizer.step()
print(json.dumps({"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
