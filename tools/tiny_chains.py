#!/usr/bin/env python3
"""Writes tests/golden/hf-tiny-chains/: the random Llama of tools/tiny_words.py with a tokenizer that has one token for
each phrase of a short chain, and a final norm of 4, so that its logits can be sure. What training on text chains is
tested on.

    tools/tiny_chains.py         needs numpy
"""
import json
import pathlib

import tiny_words

FOLDER = tiny_words.FOLDER.parent / "hf-tiny-chains"
PHRASES = ["Persona: The user", " prefers", " longer", " shorter", " warmer", " cooler", " more formal", " less formal",
           " answers", "\n- length", "\n- warmth", "\n- formal", "length", "warmth", "formal", " more", " less",
           " strongly", " slightly", "% | A ", ", B ", "\nTotal: A ", "Chose ", ", ",
           "Answer "]


def main():
    tiny_words.WORDS = PHRASES
    tokenizer = tiny_words.tokenizer()
    first = len(tokenizer["model"]["vocab"])
    for i, phrase in enumerate(PHRASES):  # those of tiny_words begin with a blank
        tokenizer["added_tokens"][len(tiny_words.SPECIAL) + i] |= {"id": first + i, "content": phrase}
    n_vocab = first + len(PHRASES)
    weights = tiny_words.weights(n_vocab)
    weights["model.norm.weight"] *= 4
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    words = pathlib.Path(tiny_words.FOLDER)
    (FOLDER / "tokenizer_config.json").write_text((words / "tokenizer_config.json").read_text())
    (FOLDER / "config.json").write_text(json.dumps(tiny_words.config(n_vocab), indent=2) + "\n")
    tiny_words.write_safetensors(FOLDER / "model.safetensors", weights)


if __name__ == "__main__":
    main()
