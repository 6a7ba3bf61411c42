"""The recipe `translate` in PyTorch: the same batches in the same order, sizes, optimizer and schedule.

usage: npm run batches -- translate --out DIR --config '{"file":"pairs.tsv"}' && OMP_NUM_THREADS=2 python3 torch_translate.py DIR [SEED [STEPS]]
Prints a line for each epoch: the loss of the validation pairs and seconds, evaluations left out; at the end it writes greedy translations of the
test pairs to DIR/output.jsonl, and `npm run bleu -- DIR DIR/output.jsonl` gives their BLEU. What `glissade train translate` and
`glissade evaluate RUN --test` are held against. Debian: python3-torch libopenblas0-pthread python3-numpy.
"""

import json
import math
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from batches import batches

folder = sys.argv[1]
torch.manual_seed(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
most_steps = int(sys.argv[3]) if len(sys.argv) > 3 else math.inf
with open(os.path.join(folder, "sizes.json")) as file:
    sizes = json.load(file)
given, V = sizes["hyperparameters"], sizes["vocabularySize"]
D, H, L, LONGEST, DROP = (given[name] for name in ("width", "heads", "layers", "maxLength", "dropout"))
PAD, START, END = 0, 1, 2


def sines():
    places, halves = torch.arange(LONGEST)[:, None], torch.arange(0, D, 2)
    angles = places / 10000 ** (halves / D)
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(LONGEST, D)


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(V, D)
        nn.init.normal_(self.words.weight, std=D**-0.5)
        sizes = dict(dim_feedforward=4 * D, dropout=DROP, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, H, **sizes), L, nn.LayerNorm(D))
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, H, **sizes), L, nn.LayerNorm(D))
        for name, p in [*self.encoder.named_parameters(), *self.decoder.named_parameters()]:
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
        self.register_buffer("places", sines())
        self.drop = nn.Dropout(DROP)

    def embedded(self, ids):
        return self.drop(self.words(ids) * math.sqrt(D) + self.places[: ids.shape[1]])

    def read(self, source):
        padding = source == PAD
        return self.encoder(self.embedded(source), src_key_padding_mask=padding), padding

    def write(self, before, memory, padding):
        causal = torch.ones(before.shape[1], before.shape[1], dtype=torch.bool).triu(1)
        h = self.decoder(self.embedded(before), memory, tgt_mask=causal, memory_key_padding_mask=padding)
        return h @ self.words.weight.T

    def forward(self, source, targets):
        start = torch.full((len(targets), 1), START)
        return self.write(torch.cat([start, targets[:, :-1]], 1), *self.read(source))


def loss_of(model, source, targets, smoothing):
    logits = model(source, targets)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, label_smoothing=smoothing)


@torch.no_grad()
def validated(model):
    model.eval()
    total = tokens = 0
    for source, targets in batches(folder, "validation.bin"):
        count = (targets != PAD).sum().item()
        total += loss_of(model, source, targets, given["labelSmoothing"]).item() * count
        tokens += count
    model.train()
    return total / tokens


@torch.no_grad()
def translated(model, source):
    memory, padding = model.read(source)
    ids = torch.full((len(source), 1), START)
    ended = torch.zeros(len(source), dtype=torch.bool)
    while ids.shape[1] <= LONGEST and not ended.all():
        best = model.write(ids, memory, padding)[:, -1].argmax(-1, keepdim=True)
        ended |= best[:, 0] == END
        ids = torch.cat([ids, best], 1)
    return ids[:, 1:]


@torch.no_grad()
def average(decay, step):
    """Averages the weights as the recipe does: more slowly once there are more steps."""
    beta = min(decay, (1 + step) / (10 + step))
    torch._foreach_mul_(averages, beta)
    torch._foreach_add_(averages, [p.detach() for p in model.parameters()], alpha=1 - beta)


def exchange():
    """Exchanges the weights and their averages."""
    for p, mean in zip(model.parameters(), averages):
        p.data, mean.data = mean.data, p.data


def up_to_end(row):
    return row[: row.index(END)] if END in row else row


model = Translator()
rate, climb = given["learningRate"], given["warmUpSteps"]
optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.98), eps=1e-9)
decay = given["averageDecay"]
averages = [p.detach().clone() for p in model.parameters()] if decay > 0 else []
step, seconds, processor = 0, 0.0, 0.0
for epoch in range(given["epochs"]):
    began, process = time.time(), time.process_time()
    for source, targets in batches(folder, f"train-{epoch}.bin"):
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / climb, math.sqrt(climb / (step + 1)))
        loss = loss_of(model, source, targets, given["labelSmoothing"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if averages:
            average(decay, step)
        step += 1
        if step >= most_steps:
            break
    seconds, processor = seconds + time.time() - began, processor + time.process_time() - process
    exchange()
    line = f"epoch {epoch + 1}  step {step}  validation loss {validated(model):.4f}"
    exchange()
    print(f"{line}  {seconds:.0f} s  {processor:.0f} s of processor time", flush=True)
    if step >= most_steps:
        break
exchange()
model.eval()
with open(os.path.join(folder, "output.jsonl"), "w") as file:
    for source, targets in batches(folder, "test.bin"):
        for output, target in zip(translated(model, source).tolist(), targets.tolist()):
            target = [token for token in target if token != PAD]
            file.write(json.dumps({"output": up_to_end(output), "target": up_to_end(target)}) + "\n")
