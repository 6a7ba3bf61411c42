"""Writes 4,000 + 1,000 food reviews as CSV: python3 food_reviews.py r-cran-modeldata_1.1.0-1_all.deb|FOLDER OUT

They are `small_fine_foods` of the R package modeldata (MIT), which Debian has as r-cran-modeldata: `apt-get download r-cran-modeldata`. OUT gets
train.csv and test.csv with the columns review and score, "great" or "other", and the folder `texts`, in which each review of train.csv is a file
without its score, for pre-training. Needs only Python: R keeps the tables in its own serialization, packed
with LZMA, which is read here.
"""
import csv
import gzip
import lzma
import os
import struct
import subprocess
import sys
import tempfile
import zlib


class Reader:
    """R's serialization, format X, version 2 or 3: as much of it as tables of texts and factors need."""

    def __init__(self, data):
        assert data[:2] == b"X\n", "not R's binary serialization"
        self.data, self.at, self.references = data, 2, []
        version = self.int()
        self.at += 8
        if version == 3:
            self.at += 4 + struct.unpack_from(">i", data, self.at)[0]

    def int(self):
        (value,) = struct.unpack_from(">i", self.data, self.at)
        self.at += 4
        return value

    def attributes(self, flags):
        return self.item() if flags & 0x200 else {}

    def item(self):
        flags = self.int()
        kind = flags & 0xFF
        if kind in (254, 242, 241, 253, 251):  # NULL, and special environments
            return None
        if kind == 255:
            return self.references[(flags >> 8 or self.int()) - 1]
        if kind == 1:  # a symbol
            self.references.append(self.item())
            return self.references[-1]
        if kind == 9:  # a text
            length = self.int()
            text = None if length < 0 else self.data[self.at : self.at + length].decode("utf-8", "replace")
            self.at += max(0, length)
            return text
        if kind == 2:  # a list of pairs
            pairs = {}
            while True:
                if flags & 0x200:
                    self.item()
                name = self.item() if flags & 0x400 else None
                pairs[name] = self.item()
                flags = self.int()
                if flags & 0xFF != 2:
                    self.at -= 4
                    self.item()
                    return pairs
        if kind == 238:  # a compact form of a vector: its class, its state, its attributes
            self.item()
            state = self.item()
            self.item()
            return state
        length = self.int()
        if kind in (10, 13):
            values = list(struct.unpack_from(f">{length}i", self.data, self.at))
            self.at += 4 * length
        elif kind == 14:
            values = list(struct.unpack_from(f">{length}d", self.data, self.at))
            self.at += 8 * length
        elif kind in (16, 19):
            values = [self.item() for _ in range(length)]
        else:
            raise ValueError(f"an object of kind {kind} at byte {self.at}")
        attributes = self.attributes(flags)
        if "levels" in attributes:
            return [attributes["levels"][code - 1] for code in values]
        return dict(zip(attributes["names"], values)) if "names" in attributes else values


def unpacked(chunk):
    kind = chunk[4:5]
    if kind == b"Z":
        return lzma.decompress(chunk[5:], lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])
    return chunk[5:] if kind == b"0" else zlib.decompress(chunk[4:])


def main(source, out):
    if source.endswith(".deb"):
        folder = tempfile.mkdtemp()
        subprocess.run(["dpkg-deb", "-x", source, folder], check=True)
    else:
        folder = source
    data = os.path.join(folder, "usr/lib/R/site-library/modeldata/data")
    with gzip.open(f"{data}/Rdata.rdx") as file:
        index = Reader(file.read()).item()["variables"]
    with open(f"{data}/Rdata.rdb", "rb") as file:
        table = file.read()
    os.makedirs(out, exist_ok=True)
    for name, target in (("training_data", "train"), ("testing_data", "test")):
        begin, length = index[name]
        rows = Reader(unpacked(table[begin : begin + length])).item()
        with open(f"{out}/{target}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["review", "score"])
            writer.writerows(zip(rows["review"], rows["score"]))
        if target == "train":
            os.makedirs(f"{out}/texts", exist_ok=True)
            for i, review in enumerate(rows["review"]):
                with open(f"{out}/texts/{i:05d}.txt", "w") as file:
                    file.write(review.replace("<br />", "\n\n"))
        print(f"{out}/{target}.csv: {len(rows['score'])} reviews, {sum(s == 'great' for s in rows['score'])} great")


main(*sys.argv[1:])
