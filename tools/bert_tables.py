#!/usr/bin/env python3
"""Writes src/text/bert_tables.inc: the classes of characters that PyPI `tokenizers` has for BERT, which are those of
Unicode 8 whatever is newer elsewhere, so that utf8proc's tables (of another version on every system) are no substitute.

    tools/bert_tables.py
"""
import os

from tokenizers import normalizers, pre_tokenizers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "text", "bert_tables.inc")


def normaliser(**on):
    return normalizers.BertNormalizer(**({"clean_text": False, "handle_chinese_chars": False, "strip_accents": False,
                                          "lowercase": False} | on))


def ranges(points):
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, what, points):
    cells = [f"{{0x{a:x}, 0x{b:x}}}" for a, b in ranges(points)]
    lines, line = [], "   "
    for cell in cells:
        if len(line) + len(cell) > 112:
            lines.append(line)
            line = "   "
        line += f" {cell},"
    return f"static const char_range {name}[] = {{ /* {what} */\n" + "\n".join([*lines, line]) + "\n};\n"


def main():
    clean, accents, cut = normaliser(clean_text=True), normaliser(strip_accents=True), pre_tokenizers.BertPreTokenizer()
    points = [c for c in range(0x80, 0x110000) if not 0xd800 <= c < 0xe000]
    with open(OUT, "w", encoding="utf-8", newline="\n") as f:
        f.write("/* bert_tables.inc - written by tools/bert_tables.py: classes of characters beyond ASCII, as of "
                "Unicode 8. */\n")
        f.write(table("dropped", "control, format and private use; U+FFFD",
                      [c for c in points if not clean.normalize_str(chr(c))]))
        f.write(table("marks", "non-spacing", [c for c in points if not accents.normalize_str(chr(c))]))
        f.write(table("punctuation", "every kind of it",
                      [c for c in points if len(cut.pre_tokenize_str(f"a{chr(c)}b")) == 3]))


if __name__ == "__main__":
    main()
