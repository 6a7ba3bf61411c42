"""The recipe `bert-pretrain` in PyTorch: the same pairs and masks in the same order, sizes, optimizer and schedule.

usage: npm run batches -- bert-pretrain --out DIR --config '{"epochs":N}' && OMP_NUM_THREADS=2 python3 torch_bert.py DIR [SEED [STEPS]]
Prints a line for each epoch: masked accuracy and next-sentence accuracy on the held-out documents, beside always the commonest token and always
"another text", and seconds. What `glissade train bert-pretrain --epochs N` is held against. Debian: python3-torch libopenblas0-pthread numpy.
"""

import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from batches import batches

folder = sys.argv[1]
torch.manual_seed(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
most_steps = int(sys.argv[3]) if len(sys.argv) > 3 else math.inf
with open(os.path.join(folder, "sizes.json")) as file:
    sizes = json.load(file)
given, model_sizes = sizes["hyperparameters"], sizes["model"]
V, H, L, A = (model_sizes[name] for name in ("vocabSize", "hiddenSize", "numHiddenLayers", "numAttentionHeads"))
T, DROP = given["length"], given["dropout"]


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(H, H) for _ in range(4))
        self.up, self.down = nn.Linear(H, 4 * H), nn.Linear(4 * H, H)
        self.norm1, self.norm2 = nn.LayerNorm(H, eps=1e-12), nn.LayerNorm(H, eps=1e-12)
        self.drop = nn.Dropout(DROP)

    def forward(self, h, mask):
        B = h.shape[0]
        split = lambda x: x.view(B, T, A, H // A).transpose(1, 2)
        scores = split(self.query(h)) @ split(self.key(h)).transpose(-1, -2) / math.sqrt(H // A)
        weights = self.drop((scores + mask).softmax(-1))
        y = (weights @ split(self.value(h))).transpose(1, 2).reshape(B, T, H)
        a = self.norm1(h + self.drop(self.out(y)))
        return self.norm2(a + self.drop(self.down(F.gelu(self.up(a)))))


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places, self.segments = nn.Embedding(V, H), nn.Embedding(T, H), nn.Embedding(2, H)
        self.norm, self.drop = nn.LayerNorm(H, eps=1e-12), nn.Dropout(DROP)
        self.layers = nn.ModuleList(Layer() for _ in range(L))
        self.pooler, self.order = nn.Linear(H, H), nn.Linear(H, 2)
        self.transform, self.norm2, self.bias = nn.Linear(H, H), nn.LayerNorm(H, eps=1e-12), nn.Parameter(torch.zeros(V))
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.words.weight[0] = 0

    def forward(self, ids, segments, positions):
        h = self.drop(self.norm(self.words(ids) + self.places.weight + self.segments(segments)))
        mask = (ids == 0)[:, None, None, :].float() * -1e9
        for layer in self.layers:
            h = layer(h, mask)
        masked = h.gather(1, positions[:, :, None].expand(-1, -1, H))
        t = self.norm2(F.gelu(self.transform(masked)))
        return t @ self.words.weight.T + self.bias, self.order(self.pooler(h[:, 0]).tanh())


@torch.no_grad()
def evaluated(model, commonest):
    model.eval()
    right = np.zeros(4)
    masks = pairs = 0
    for ids, segments, positions, labels, order in batches(folder, "validation.bin"):
        tokens, follows = model(ids, segments, positions)
        real = labels != -100
        right += [
            ((tokens.argmax(-1) == labels) & real).sum().item(),
            (labels == commonest).sum().item(),
            (follows.argmax(-1) == order).sum().item(),
            (order == 1).sum().item(),
        ]
        masks, pairs = masks + real.sum().item(), pairs + len(order)
    model.train()
    return right / [masks, masks, pairs, pairs]


model = Bert()
matrices = [p for p in model.parameters() if p.dim() > 1]
vectors = [p for p in model.parameters() if p.dim() <= 1]
groups = [dict(params=matrices, weight_decay=given["weightDecay"]), dict(params=vectors, weight_decay=0)]
optimizer = torch.optim.AdamW(groups, lr=given["learningRate"])
steps = given["epochs"] * sizes["batches"][0]
climb = math.floor(given["warmUp"] * steps)
first = torch.cat([labels[labels >= 0] for _, _, _, labels, _ in batches(folder, "train-0.bin")])
commonest = first.bincount().argmax().item()
step, began = 0, time.time()
for epoch in range(given["epochs"]):
    for ids, segments, positions, labels, order in batches(folder, f"train-{epoch}.bin"):
        share = (step + 1) / (climb + 1) if step < climb else max(0.0, 1 - (step - climb) / max(1, steps - climb))
        for group in optimizer.param_groups:
            group["lr"] = given["learningRate"] * share
        tokens, follows = model(ids, segments, positions)
        loss = F.cross_entropy(tokens.flatten(0, 1), labels.flatten(), ignore_index=-100)
        loss = loss + F.cross_entropy(follows, order)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step >= most_steps:
            break
    masked, unigram, follows, majority = evaluated(model, commonest)
    print(
        f"epoch {epoch + 1}  step {step}  masked {masked:.4f} (unigram {unigram:.4f})  "
        f"next sentence {follows:.4f} (majority {majority:.4f})  {time.time() - began:.0f} s  {time.process_time():.0f} s of processor time",
        flush=True,
    )
    if step >= most_steps:
        break
