"""PyTorch's side of `npm run decode`, in float32: a GPT with a cache of keys and values, greedy, or, with 0 heads, an LSTM, whose tokens are drawn.

usage: OMP_NUM_THREADS=N python3 torch_decode.py LAYERS WIDTH HEADS VOCABULARY BATCH PROMPT NEW ROUNDS
Prints one JSON line {seconds, cpu} for each round, without the first. The caches have their full size from the beginning, and each token is written
in its place: nothing is copied.
"""
import json
import math
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

LAYERS, WIDTH, HEADS, VOCABULARY, BATCH, PROMPT, NEW, ROUNDS = map(int, sys.argv[1:])
LONGEST = PROMPT + NEW
SIZE = WIDTH // max(HEADS, 1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.o = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.f1, self.f2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, h, cache, at):
        batch, time, _ = h.shape
        q, k, v = self.qkv(self.l1(h)).view(batch, time, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4)
        keys, values = cache
        keys[:, :, at : at + time], values[:, :, at : at + time] = k, v
        end = at + time
        scores = q @ keys[:, :, :end].transpose(-1, -2) / math.sqrt(SIZE)
        if time > 1:
            scores = scores.masked_fill(torch.ones(time, end, dtype=torch.bool).triu(1 + at), -math.inf)
        y = scores.softmax(-1) @ values[:, :, :end]
        h = h + self.o(y.transpose(1, 2).reshape(batch, time, WIDTH))
        return h + self.f2(F.gelu(self.f1(self.l2(h))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH)

    def forward(self, ids, caches, at):
        h = self.tokens(ids) + self.positions(torch.arange(at, at + ids.shape[1]))
        for block, cache in zip(self.blocks, caches):
            h = block(h, cache, at)
        return self.norm(h[:, -1]) @ self.tokens.weight.T


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.lstm = nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)

    def forward(self, ids, state):
        outputs, state = self.lstm(self.tokens(ids), state)
        return self.head(outputs[:, -1]), state


@torch.inference_mode()
def draw(model, prompt):
    token, state, tokens = prompt, None, []
    for _ in range(NEW):
        logits, state = model(token, state)
        token = torch.multinomial(logits.softmax(-1), 1)
        tokens.append(token)
    return torch.cat(tokens, 1)


@torch.inference_mode()
def generate(model, prompt):
    if HEADS == 0:
        return draw(model, prompt)
    empty = lambda: torch.zeros(BATCH, HEADS, LONGEST, SIZE)
    caches = [(empty(), empty()) for _ in range(LAYERS)]
    token = model(prompt, caches, 0).argmax(-1, keepdim=True)
    tokens = [token]
    for i in range(NEW - 1):
        token = model(token, caches, PROMPT + i).argmax(-1, keepdim=True)
        tokens.append(token)
    return torch.cat(tokens, 1)


def processor_time():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


torch.manual_seed(0)
model = (Gpt() if HEADS else Lstm()).eval()
prompt = torch.randint(0, VOCABULARY, (BATCH, PROMPT))
for round in range(ROUNDS + 1):
    cpu, wall = processor_time(), time.perf_counter()
    assert generate(model, prompt).shape == (BATCH, NEW)
    if round > 0:
        print(json.dumps(dict(seconds=time.perf_counter() - wall, cpu=processor_time() - cpu)), flush=True)
