"""PyTorch's side of the step-time comparison: training steps with Adam in float32, served one burst at a time.

usage: OMP_NUM_THREADS=N python3 torch_steps.py WORKLOAD N
Speaks the language of bench/server.ts: one JSON line {peer, notes} when it is warm, then for each line "run" on standard
input one JSON line {times, processor, first, last}. PyTorch is at its best with libopenblas0-openmp as libblas.so.3 and
libtcmalloc_minimal preloaded.
"""

import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    """A pre-norm encoder block, written out so that old versions run the same graph."""

    def __init__(self, D, H, FF, rate=0.0):
        super().__init__()
        self.H, self.rate = H, rate
        self.l1, self.l2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.o = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.f1, self.f2 = nn.Linear(D, FF), nn.Linear(FF, D)

    def forward(self, h, mask=None):
        B, S, D = h.shape
        q, k, v = self.qkv(self.l1(h)).view(B, S, 3, self.H, D // self.H).permute(2, 0, 3, 1, 4)
        w = q @ k.transpose(-1, -2) / math.sqrt(D // self.H)
        if mask is not None:
            w = w + mask
        w = dropped(w.softmax(-1), self.rate)
        h = h + dropped(self.o((w @ v).transpose(1, 2).reshape(B, S, D)), self.rate)
        return h + dropped(self.f2(dropped(F.gelu(self.f1(self.l2(h))), self.rate)), self.rate)


def dropped(x, rate):
    return F.dropout(x, rate) if rate > 0 else x


def mlp():
    """784, 256, 128, 10; relu; batch 128."""
    x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
    m = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    return m, lambda: F.cross_entropy(m(x), y)


def mlp_bn():
    """784, 512, 512, 10; batch normalisation and relu; batch 256."""
    x, y = torch.randn(256, 784), torch.randint(0, 10, (256,))
    m = nn.Sequential(
        nn.Linear(784, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )
    return m, lambda: F.cross_entropy(m(x), y)


def conv():
    """Two convolutions 5 x 5 (16 and 32 channels), each with relu and max pooling 2; batch 64 of 1 x 28 x 28."""
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    m = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 10),
    )
    return m, lambda: F.cross_entropy(m(x), y)


def lstm():
    """Two layers, 64 steps, batch 32, 256 wide, 1,000 classes at each step."""
    S, B, D, H, C = 64, 32, 256, 256, 1000
    x, y = torch.randn(S, B, D), torch.randint(0, C, (S * B,))
    r, o = nn.LSTM(D, H, 2), nn.Linear(H, C)
    return nn.ModuleList([r, o]), lambda: F.cross_entropy(o(r(x)[0]).view(S * B, C), y)


def seq2seq():
    """Embedding 128, LSTM 256 encoder and decoder, teacher forcing, source 16, target 16, batch 64, vocabulary 64."""
    S, B, E, H, V = 16, 64, 128, 256, 64
    src, tgt, y = (torch.randint(0, V, (S, B)) for _ in range(3))
    es, et, enc, dec, o = nn.Embedding(V, E), nn.Embedding(V, E), nn.LSTM(E, H), nn.LSTM(E, H), nn.Linear(H, V)

    def loss():
        _, state = enc(es(src))
        return F.cross_entropy(o(dec(et(tgt), state)[0]).view(S * B, V), y.view(-1))

    return nn.ModuleList([es, et, enc, dec, o]), loss


def transformer(rate=0.0):
    """4 causal pre-norm blocks, 256 wide, 4 heads, feed-forward 1,024, batch 16 x 128, vocabulary 1,000."""
    B, S, D, H, FF, L, V = 16, 128, 256, 4, 1024, 4, 1000
    x, y = torch.randint(0, V, (B, S)), torch.randint(0, V, (B * S,))
    e, p = nn.Embedding(V, D), nn.Parameter(torch.randn(S, D) * 0.02)
    blocks, ln, o = nn.ModuleList(Block(D, H, FF, rate) for _ in range(L)), nn.LayerNorm(D), nn.Linear(D, V)
    mask = torch.full((S, S), -1e9).triu(1)

    def loss():
        h = dropped(e(x) + p, rate)
        for block in blocks:
            h = block(h, mask)
        return F.cross_entropy(o(ln(h)).view(B * S, V), y)

    m = nn.ModuleList([e, blocks, ln, o])
    m.register_parameter("pos", p)
    return m, loss


def bert_mini(rate=0.0):
    """4 blocks, 256 wide, vocabulary 8,000, batch 16 x 128, 15 percent of the positions predicted, sentence pair head."""
    B, S, D, H, FF, L, V = 16, 128, 256, 4, 1024, 4, 8000
    x, n = torch.randint(0, V, (B, S)), int(B * S * 0.15)
    at, y, pair = torch.randint(0, B * S, (n,)), torch.randint(0, V, (n,)), torch.randint(0, 2, (B,))
    e, p = nn.Embedding(V, D), nn.Parameter(torch.randn(S, D) * 0.02)
    blocks, ln = nn.ModuleList(Block(D, H, FF, rate) for _ in range(L)), nn.LayerNorm(D)
    t, nsp = nn.Linear(D, D), nn.Linear(D, 2)
    bias = nn.Parameter(torch.zeros(V))

    def loss():
        h = dropped(e(x) + p, rate)
        for block in blocks:
            h = block(h)
        h = ln(h)
        g = F.gelu(t(h.reshape(B * S, D)[at]))
        return F.cross_entropy(g @ e.weight.T + bias, y) + F.cross_entropy(nsp(h[:, 0]), pair)

    m = nn.ModuleList([e, blocks, ln, t, nsp])
    m.register_parameter("pos", p)
    m.register_parameter("bias", bias)
    return m, loss


def translate(rate=0.0):
    """The recipe `translate`: encoder and decoder of 3 layers, 128 wide, 4 heads, vocabulary 4,000, batch 64 x 32 tokens, smoothed labels."""
    B, S, D, H, L, V = 64, 32, 128, 4, 3, 4000
    x, before, y = torch.randint(3, V, (B, S)), torch.randint(3, V, (B, S)), torch.randint(3, V, (B * S,))
    x[:, 28:] = 0
    e, p = nn.Embedding(V, D), torch.randn(S, D)
    nn.init.normal_(e.weight, std=D**-0.5)
    sizes = dict(dim_feedforward=4 * D, dropout=rate, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, H, **sizes), L, nn.LayerNorm(D))
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, H, **sizes), L, nn.LayerNorm(D))
    causal, padding = torch.ones(S, S, dtype=torch.bool).triu(1), x == 0

    def loss():
        embedded = lambda ids: dropped(e(ids) * math.sqrt(D) + p, rate)
        memory = encoder(embedded(x), src_key_padding_mask=padding)
        h = decoder(embedded(before), memory, tgt_mask=causal, memory_key_padding_mask=padding)
        return F.cross_entropy((h @ e.weight.T).view(B * S, V), y, ignore_index=0, label_smoothing=0.1)

    return nn.ModuleList([e, encoder, decoder]), loss


def translate_dropout():
    return translate(0.1)


def transformer_dropout():
    return transformer(0.1)


def bert_mini_dropout():
    return bert_mini(0.1)


TRANSFORMERS = (transformer, transformer_dropout, bert_mini, bert_mini_dropout, translate, translate_dropout)
WORKLOADS = {f.__name__: f for f in (mlp, mlp_bn, conv, lstm, seq2seq, *TRANSFORMERS)}
BURST_MILLISECONDS = 500
FEWEST_STEPS = 4
MOST_STEPS = 1000


def training(build):
    """A training step on fresh weights; it returns the loss."""
    torch.manual_seed(0)
    model, loss_of = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def burst(build, steps):
    """Times `steps` steps; the first from fresh weights is not among them."""
    step = training(build)
    first = last = step()
    times = []
    before = time.process_time()
    for _ in range(steps):
        started = time.perf_counter()
        last = step()
        times.append((time.perf_counter() - started) * 1e3)
    processor = (time.process_time() - before) * 1e3 / steps
    return {"times": times, "processor": processor, "first": first, "last": last}


def notes():
    """What keeps PyTorch from its best here."""
    try:
        loaded = open("/proc/self/maps").read()
    except OSError:
        return []
    found = []
    if not torch.backends.mkl.is_available() and "openblas-openmp" not in loaded:
        found.append("PyTorch runs without OpenBLAS for OpenMP: apt install libopenblas0-openmp")
    if "libtcmalloc" not in loaded:
        found.append("PyTorch runs without tcmalloc: apt install libtcmalloc-minimal4")
    return found


def say(message):
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    build, threads = WORKLOADS[sys.argv[1]], int(sys.argv[2])
    torch.set_num_threads(threads)
    warm_up = burst(build, 3)
    quick = math.ceil(BURST_MILLISECONDS / min(warm_up["times"]))
    steps = min(MOST_STEPS, max(FEWEST_STEPS, quick))
    say({"peer": "torch " + torch.__version__, "notes": notes()})
    for line in sys.stdin:
        if line.strip() != "run":
            raise ValueError(f'a bench server understands "run" only, not {line!r}')
        say(burst(build, steps))
