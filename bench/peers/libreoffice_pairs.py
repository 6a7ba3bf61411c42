"""Pairs of paragraphs from LibreOffice's help in two languages, for the recipe `translate`: a TSV file, source<TAB>target.

    apt-get download libreoffice-help-en-us libreoffice-help-fr
    for file in libreoffice-help-*.deb; do dpkg-deb -x $file help; done
    python3 bench/peers/libreoffice_pairs.py help/usr/share/libreoffice/help en-US fr pairs.tsv

Paragraphs and headings have the same ids in each language. Of texts that differ by operating system the default one is taken. A pair
whose source or target was there before is left out, and so is one that is the same in both languages.
"""

import pathlib
import re
import sys
from html.parser import HTMLParser

BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LEFT_OUT = {"script", "style", "noscript"}
OTHER_SYSTEMS = {"MAC", "WIN", "UNIX", "IOS"}


class Paragraphs(HTMLParser):
    """The texts of paragraphs and headings, by id."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []  # of each open element: its name, the id of its block or None, whether its text is left out
        self.texts = {}

    def handle_starttag(self, tag, attributes):
        if tag in VOID:
            self.handle_data(" " if tag == "br" else "")
            return
        given = dict(attributes)
        within, is_out = self.open[-1][1:] if self.open else (None, False)
        if tag in BLOCKS:
            within = given.get("id")
            if within in self.texts:  # a page may show a paragraph twice
                within = None
            elif within is not None:
                self.texts[within] = []
        is_out = is_out or tag in LEFT_OUT or bool(OTHER_SYSTEMS & set((given.get("class") or "").split()))
        self.open.append((tag, within, is_out))

    def handle_endtag(self, tag):
        if any(name == tag for name, _, _ in self.open):
            while self.open.pop()[0] != tag:
                pass

    def handle_data(self, data):
        if not self.open or self.open[-1][1] is None or self.open[-1][2]:
            return
        self.texts[self.open[-1][1]].append(data)


def paragraphs(file):
    parser = Paragraphs()
    parser.feed(file.read_text(encoding="utf-8"))
    texts = {name: re.sub(r"\s+", " ", "".join(parts)).strip() for name, parts in parser.texts.items()}
    return {name: text for name, text in texts.items() if re.search(r"[^\W\d_]{2}", text)}


def main(folder, source, target, out):
    root = pathlib.Path(folder)
    sources, targets, pairs = set(), set(), []
    for file in sorted((root / source / "text").rglob("*.html")):
        other = root / target / file.relative_to(root / source)
        if not other.exists():
            continue
        translated = paragraphs(other)
        for name, text in paragraphs(file).items():
            there = translated.get(name)
            if there is None or there == text or text in sources or there in targets:
                continue
            sources.add(text)
            targets.add(there)
            pairs.append((text, there))
    if not pairs:
        sys.exit(f"{folder} has no pages in {source} and {target}: give the folder that has {source}/text and {target}/text")
    pathlib.Path(out).write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    print(f"{len(pairs)} pairs in {out}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
