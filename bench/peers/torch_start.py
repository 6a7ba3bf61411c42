"""PyTorch's side of `npm run startup`: the networks of bench/networks.ts until their first step, and in memory.

usage: OMP_NUM_THREADS=N python3 torch_start.py NETWORK N; as NETWORK also "draws", 124 million normal numbers
Writes one JSON line: seconds of processor time until PyTorch is imported, until the first step is done and of a later step, and the
most memory that was resident, in bytes. Debian: python3-torch and libopenblas0-pthread.
"""

import json
import math
import resource
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_steps import Block, mlp


class Shortcut(nn.Module):
    """A block of ResNet-20 for CIFAR-10, with a projection where images become smaller."""

    def __init__(self, before, after):
        super().__init__()
        stride = 1 if before == after else 2
        self.c1, self.n1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.c2, self.n2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        project = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.short = nn.Identity() if stride == 1 else project

    def forward(self, x):
        return F.relu(self.n2(self.c2(F.relu(self.n1(self.c1(x))))) + self.short(x))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def resnet20():
    x, y = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
    sizes = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    first = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    m = nn.Sequential(*first, *map(Shortcut, sizes, sizes[1:]), Mean(), nn.Linear(64, 10))
    return m, lambda: F.cross_entropy(m(x), y)


def encoder(layers):
    def build():
        x, y = torch.randint(0, 1000, (8, 32)), torch.randint(0, 1000, (256,))
        blocks = [Block(128, 4, 512) for _ in range(layers)]
        m = nn.Sequential(nn.Embedding(1000, 128), *blocks, nn.LayerNorm(128), nn.Linear(128, 1000))
        return m, lambda: F.cross_entropy(m(x).view(256, 1000), y)

    return build


def gpt2():
    T, D, V = 256, 768, 50257
    x, y, places = torch.randint(0, V, (1, T)), torch.randint(0, V, (T,)), torch.arange(T)
    tokens, positions, ln = nn.Embedding(V, D), nn.Embedding(1024, D), nn.LayerNorm(D)
    blocks = nn.ModuleList(Block(D, 12, 4 * D) for _ in range(12))
    mask = torch.full((T, T), -1e9).triu(1)
    for e in (tokens, positions):
        nn.init.normal_(e.weight, std=0.02)

    def loss():
        h = tokens(x) + positions(places)
        for block in blocks:
            h = block(h, mask)
        return F.cross_entropy((ln(h) @ tokens.weight.T).view(T, V), y)

    return nn.ModuleList([tokens, positions, ln, blocks]), loss


NETWORKS = {"mlp": mlp, "resnet20": resnet20, "encoder12": encoder(12), "encoder24": encoder(24), "gpt2": gpt2}


def processor_time():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(**start):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**start, "peak": peak}))


if __name__ == "__main__":
    name, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    imported = processor_time()
    if name == "draws":
        torch.empty(124_439_808).normal_(std=0.02)
        say(imported=imported, made=0, first=processor_time() - imported, later=0)
        sys.exit()
    model, loss_of = NETWORKS[name]()
    optimizer = (torch.optim.AdamW if name == "gpt2" else torch.optim.Adam)(model.parameters(), lr=1e-3)
    made = processor_time()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    assert math.isfinite(step())
    first = processor_time()
    step()
    before = processor_time()
    later = step()
    after = processor_time()
    assert math.isfinite(later)
    say(imported=imported, made=made - imported, first=first - made, later=after - before)
