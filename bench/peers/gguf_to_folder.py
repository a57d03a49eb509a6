"""Writes a GGUF model as a Hugging Face folder, its weights in fp32: gguf_to_folder.py FILE.gguf FOLDER."""
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, name = os.path.split(os.path.realpath(sys.argv[1]))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
model.hf_quantizer = None  # what was read is no longer quantised, and newer versions of transformers doubt it
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(sys.argv[2])
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(sys.argv[2])
