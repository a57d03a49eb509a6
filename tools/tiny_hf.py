#!/usr/bin/env python3
"""Writes tests/golden/hf-tiny-llama/: the model of tests/golden/tiny-llama.gguf as Hugging Face folders, written by
transformers.

    tools/tiny_hf.py             needs what tools/tiny_model.py needs

    f32/    one model.safetensors, tokenizer, chat template; the same weights, so tests/golden/tiny-llama.json holds for
    it bf16/   weights rounded to BF16 in three shards with their index, and config.json only
"""
import os
import shutil

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast
from tokenizers import decoders

import tiny_model


def main():
    folder = os.path.join(tiny_model.GOLDEN, "hf-tiny-llama")
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer, tokens, _ = tiny_model.train_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    model = tiny_model.build_model(len(tokens))
    model.config.bos_token_id, model.config.eos_token_id = tokens.index("<|im_start|>"), tokens.index("<|im_end|>")
    model.generation_config = GenerationConfig(bos_token_id=tokens.index("<|im_start|>"),
                                               eos_token_id=[tokens.index("<|im_end|>"), tokens.index("<|endoftext|>")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                   pad_token="<|endoftext|>", clean_up_tokenization_spaces=False)
    fast.chat_template = tiny_model.CHAT_TEMPLATE
    model.save_pretrained(os.path.join(folder, "f32"))
    fast.save_pretrained(os.path.join(folder, "f32"))
    model.to(torch.bfloat16).save_pretrained(os.path.join(folder, "bf16"), max_shard_size="85KB")
    os.remove(os.path.join(folder, "bf16", "generation_config.json"))
    for where, _, files in os.walk(folder):
        for name in sorted(files):
            print(f"{os.path.getsize(os.path.join(where, name)):8d}  "
                  f"{os.path.relpath(os.path.join(where, name), folder)}")


if __name__ == "__main__":
    main()
