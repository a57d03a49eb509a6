"""Writes a GGUF model as a Hugging Face folder: gguf_to_folder.py FILE.gguf FOLDER."""
import os
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

folder, name = os.path.split(os.path.realpath(sys.argv[1]))
AutoModelForCausalLM.from_pretrained(folder, gguf_file=name).save_pretrained(sys.argv[2])
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(sys.argv[2])
