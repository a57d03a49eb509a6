"""Small tokenizer.json files in the style of the published ones, trained by PyPI `tokenizers` on tiny_model.py's text:
golden_tokenizer.py writes them and what is expected of them. No file is a program of its own."""
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tiny_model import TEXTS, spelling

CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
LLAMA3 = (rf"(?i:{CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|NUMBERS| "
          rf"?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = {"llama-bpe": LLAMA3.replace("NUMBERS", r"\p{N}{1,3}"), "qwen2": LLAMA3.replace("NUMBERS", r"\p{N}")}
N_VOCAB, SPACE = 700, "\u2581"


def special(text, **flags):
    return AddedToken(text, special=True, **({"normalized": False} | flags))


def plain(text, **flags):
    return AddedToken(text, special=False, **({"normalized": False} | flags))


def byte_level(steps, **model):
    """A trained byte-level tokenizer; steps: what comes before ByteLevel, which has no pattern of its own where one
    does."""
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TEXTS.strip().split("\n"),
                          trainers.BpeTrainer(vocab_size=N_VOCAB, initial_alphabet=sorted(spelling().values()),
                                                                          show_progress=False, min_frequency=1))
    return t


def pattern_then_bytes(name):
    return [pre_tokenizers.Split(Regex(PATTERNS[name]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def template(t, before=(), after=()):
    tokens = list(before) + list(after)
    return processors.TemplateProcessing(single=" ".join([*before, "$A", *after]), pair=" ".join([*before, "$A", "$B"]),
                                         special_tokens=[(s, t.token_to_id(s)) for s in tokens])


def llama3():
    state = json.loads(byte_level(pattern_then_bytes("llama-bpe")).to_str())
    words = ["".join(spelling()[b] for b in w.encode())
             for w in [" W\u00fcrzburg", "\u5b57\u5b57", " language", "1234", "123", " \n"]]
    vocab = state["model"]["vocab"]
    for w in words:
        vocab.setdefault(w, len(vocab))
    state["model"]["ignore_merges"] = True  # whole pieces that no merge builds
    t = Tokenizer.from_str(json.dumps(state))
    t.add_special_tokens([special(s) for s in ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                                               "<|end_header_id|>", "<|eot_id|>"]])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                            template(t, ["<|begin_of_text|>"])])
    return json.loads(t.to_str())


def qwen3():
    t = byte_level(pattern_then_bytes("qwen2"))
    t.normalizer = normalizers.NFC()
    t.add_special_tokens([special(s) for s in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    t.add_tokens([plain(s) for s in ["<think>", "</think>", "<think>>"]])
    t.post_processor = template(t, after=["<|endoftext|>"])
    return json.loads(t.to_str())


def old_merges(state):
    """As before `tokenizers` 0.20: "a b" in place of ["a","b"]."""
    state["model"]["merges"] = [" ".join(m) for m in state["model"]["merges"]]
    return state


def gpt2(prefix):
    t = byte_level([pre_tokenizers.ByteLevel(add_prefix_space=prefix)])
    t.add_special_tokens([special("<|endoftext|>", normalized=True)])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return old_merges(json.loads(t.to_str()))


def smollm():
    t = byte_level([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.add_special_tokens([special(s) for s in ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>",
                                               "<file_sep>"]])
    return json.loads(t.to_str())


def sentencepiece_model():
    """Vocabulary in the order of SentencePiece (control, bytes, pieces by score, characters); every pair that makes up
    a piece is a merge."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    t.train_from_iterator(TEXTS.strip().split("\n"),
                          trainers.BpeTrainer(vocab_size=N_VOCAB, show_progress=False, min_frequency=1))
    trained = t.get_vocab()
    pieces = sorted((p for p in trained if len(p) > 1), key=trained.get) + [SPACE * n for n in (2, 4, 8)]
    order = ["<unk>", "<s>",
             "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces + sorted(p for p in trained if len(p) == 1)
    vocab = {p: i for i, p in enumerate(order)}
    merges = []
    for p in pieces:
        cuts = [(p[:i], p[i:]) for i in range(1, len(p)) if p[:i] in vocab and p[i:] in vocab]
        merges += sorted(cuts, key=lambda c: (vocab[c[0]], vocab[c[1]]))
    return models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def llama2():
    t = Tokenizer(sentencepiece_model())
    t.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    t.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([special(s) for s in ["<unk>", "<s>", "</s>"]])
    t.post_processor = template(t, ["<s>"])
    return old_merges(json.loads(t.to_str()))


def mistral():
    """Metaspace, and an added token for each flag."""
    t = Tokenizer(sentencepiece_model())
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=False)
    t.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(
        [special(s) for s in ["<unk>", "<s>", "</s>"]] + [special("<|im_end|>", lstrip=True, rstrip=True)])
    t.add_tokens([plain("[INST]", lstrip=True), plain("<think>", rstrip=True), plain("answer", single_word=True),
                  plain("green", lstrip=True, rstrip=True, single_word=True),
                  plain("wa", single_word=True), plain("\u00e9", single_word=True)])
    t.post_processor = template(t, ["<s>"], ["</s>"])
    return json.loads(t.to_str())


def normalised():
    """Added tokens that are looked for in normalised text; unknown characters one by one; words apart."""
    t = Tokenizer(sentencepiece_model())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("-", behavior="removed"), pre_tokenizers.Digits(),
                                               pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")])
    t.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    t.add_special_tokens([special("<unk>"), special("</s>", normalized=True)])
    t.add_tokens([plain("e\u0301", normalized=True), plain("Se", normalized=True, single_word=True),
                  plain("\u212b", normalized=True, rstrip=True), plain("tt", normalized=False)])
    state = json.loads(t.to_str())
    state["model"] |= {"byte_fallback": False, "fuse_unk": False}
    return state


def bert_model(lower, **settings):
    """WordPiece; the rarer scripts of lines.py give single characters and a few whole words."""
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lower)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(TEXTS.strip().split("\n"),
                          trainers.WordPieceTrainer(
                              vocab_size=N_VOCAB, show_progress=False, min_frequency=1,
                              special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    extra = list("0123456789.,;:!?'-()<>[]{}|/_=+*&#@$%~^\"\\") + list(
        "\u4e00\u4eca\u5929\u8336\u96e8\u5b57\u00e9\u00e4\u00f6\u00fc\u00df\u00c4\u00d6"
        "\u0430\u0435\u043e\u0441\u0442\u03b1\u03c2\u03c3\u0131\u0915\u093e\u0306\u0301\u200d\u3000\ufffd\U0001f600")
    extra += ["n't", "'s", "caf\u00e9", "cafe", "i\u0307", "zug", "Zug", "##fahrt", "##\u5b57", "##\u093e", "##\u0301",
              "\u0441\u0435\u0433\u043e\u0434\u043d\u044f", "\u03ba\u03b1\u03b9", "mag", "##er", "##E", "WE"]
    vocab = t.get_vocab()
    for piece in extra:
        vocab.setdefault(piece, len(vocab))
    return models.WordPiece(vocab=vocab, unk_token="[UNK]", **settings)


def bert(lower, model=None, **normal):
    t = Tokenizer(bert_model(lower, **(model or {})))
    t.normalizer = normalizers.BertNormalizer(lowercase=lower, **normal)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece(cleanup=lower)
    t.add_special_tokens([special(s) for s in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]])
    t.post_processor = template(t, ["[CLS]"], ["[SEP]"])
    return t


def bert_uncased():
    t = bert(True)
    t.add_special_tokens([special("<|im_end|>", lstrip=True)])
    return json.loads(t.to_str()) | {"truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst",
                                                    "stride": 0},
                                     "padding": {"strategy": {"Fixed": 8}, "direction": "Right",
                                                 "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                                                 "pad_token": "[PAD]"}}


def bert_cased():
    """The other post-processor; ideographs stay in their words; added tokens of both kinds."""
    t = bert(False, handle_chinese_chars=False)
    t.post_processor = processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    t.add_tokens([plain("[INST]"), plain("<think>", rstrip=True), plain("answer", single_word=True)])
    t.add_special_tokens([special("<|im_end|>")])
    return json.loads(t.to_str())


def bert_accents():
    """Lower case with accents, text as it is; short words only; added tokens looked for in normalised text."""
    t = bert(True, {"max_input_chars_per_word": 9}, strip_accents=False, clean_text=False)
    t.add_tokens([plain("IM_END", normalized=True), plain("\u00c9", normalized=True),
                  plain("\u5b57\u5b57", normalized=True)])
    return json.loads(t.to_str())


def bert_stripped():
    """Case stays, accents go."""
    return json.loads(bert(False, strip_accents=True).to_str())


FILES = {"llama3": llama3, "qwen3": qwen3, "gpt2-json": lambda: gpt2(False), "gpt2-prefix": lambda: gpt2(True),
         "smollm-json": smollm, "llama2": llama2,
         "mistral": mistral, "normalised": normalised, "bert": bert_uncased, "bert-cased": bert_cased,
         "bert-accents": bert_accents, "bert-stripped": bert_stripped}
