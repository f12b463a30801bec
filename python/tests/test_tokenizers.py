#!/usr/bin/env python3
"""Compares qc-tokenize token for token with PyPI `tokenizers` and `sentencepiece`.

Every tokenizer file of the shared data, a few that are built from tiktoken
ranks as transformers' converters do, and small ones trained here that use the
other components. Ids and decoded text must be equal on every line.

    python3 python/tests/test_tokenizers.py [QC_TOKENIZE]

QC_TOKENIZE (or the environment variable) is the tool, else it is looked for in
build*/. QC_SHARED_DATA is the shared data, default ../shared/data. QC_TEST_LINES
limits the number of lines per tokenizer. Prints "skipped" if something is
missing, the number of compared lines otherwise; exit status 1 on a mismatch.
"""
import base64
import glob
import gzip
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import unittest

try:
    import sentencepiece
    import tokenizers
    from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                            normalizers, pre_tokenizers, processors, trainers)
except ImportError as e:
    print(f"skipped: {e}")
    if __name__ == "__main__":
        sys.exit(0)
    raise unittest.SkipTest(f"skipped: {e}")

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DATA = os.environ.get("QC_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
LIMIT = int(os.environ.get("QC_TEST_LINES", "40000"))


def find_tool():
    candidates = [os.environ.get("QC_TOKENIZE", "")]
    candidates += sorted(glob.glob(os.path.join(ROOT, "build", "*", "bin", "qc-tokenize")))
    candidates += sorted(glob.glob(os.path.join(ROOT, "build*", "bin", "qc-tokenize")))
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


# ---------------------------------------------------------------------------
# Lines
# ---------------------------------------------------------------------------

SCRIPTS = {
    "latin": [(0x41, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)], "greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "cyrillic": [(0x400, 0x52F)], "armenian": [(0x531, 0x58F)], "hebrew": [(0x591, 0x5F4)],
    "arabic": [(0x600, 0x6FF), (0xFB50, 0xFDFF)], "syriac": [(0x700, 0x74F)], "devanagari": [(0x900, 0x97F)],
    "bengali": [(0x980, 0x9FE)], "tamil": [(0xB82, 0xBFA)], "telugu": [(0xC00, 0xC7F)], "thai": [(0xE01, 0xE5B)],
    "tibetan": [(0xF00, 0xFDA)], "georgian": [(0x10A0, 0x10FF)], "ethiopic": [(0x1200, 0x139F)],
    "khmer": [(0x1780, 0x17F9)], "mongolian": [(0x1800, 0x18AA)], "hangul": [(0x1100, 0x11FF), (0xAC00, 0xD7A3)],
    "kana": [(0x3041, 0x30FF), (0xFF61, 0xFF9F)], "han": [(0x4E00, 0x9FFF), (0x20000, 0x2A6DF), (0x30000, 0x323AF)],
    "math": [(0x2200, 0x22FF), (0x1D400, 0x1D7FF)], "marks": [(0x300, 0x36F), (0x61, 0x7A), (0x1DC0, 0x1DFF)],
    "compat": [(0xF900, 0xFAFF), (0x2F800, 0x2FA1D), (0xFF01, 0xFFEE), (0x2460, 0x24FF), (0x3200, 0x33FF)],
    "cuneiform": [(0x12000, 0x12543)], "adlam": [(0x1E900, 0x1E95F)],
}
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "🧑🏿‍🚀", "☕", "1️⃣", "🫠", "🩷", "⛹🏻‍♀️", "👁️‍🗨️", "\U0001FAE9"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\u200b", "\u180e", "\x0b", "\x0c",
          "\r", "    ", " \n ", "\n\n\n", "\t\t", "\ufeff", "\u2060"]
SPECIALS = ["<s>", "</s>", "<unk>", "<0x41>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "▁", "▁▁a", "Ġ", "Ċ",
            "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<mask>", "[control_8]", "<|padding|>"]


def is_scalar(c):
    return c > 0 and not 0xD800 <= c < 0xE000 and c < 0x110000


def data_lines():
    """Lines of English text; longest files are sampled evenly."""
    out = []
    for name, count in [("wikitext-2-raw/wiki.test.raw", 3000), ("tinyshakespeare/input.txt", 3000), ("books/valid.txt", 1500),
                        ("books/test.txt", 1500), ("tinystories/valid-excerpt.txt", 300), ("ptb/ptb.valid.txt", 1500),
                        ("wikitext-2/valid.txt", 1500)]:
        path = os.path.join(DATA, "text", name)
        with open(path, encoding="utf-8", newline="\n") as f:
            lines = [l.rstrip("\n") for l in f]
        lines = [l for l in lines if l]
        out += lines[::max(1, len(lines) // count)][:count]
    for path in sorted(glob.glob(os.path.join(DATA, "text", "c4", "*.gz"))):
        text = gzip.open(path, "rt", encoding="utf-8").read()
        out += re.findall(r'"text": ?"((?:[^"\\]|\\.)*)"', text)
    return out


def code_lines():
    out = []
    paths = glob.glob(os.path.join(ROOT, "lib", "**", "*.cpp"), recursive=True)
    paths += [os.path.join(os.path.dirname(os.__file__), n + ".py") for n in ("argparse", "ast", "inspect", "tarfile", "typing")]
    paths += [p for p in ("/usr/include/stdio.h", "/usr/include/math.h", "/usr/include/zlib.h") if os.path.exists(p)]
    for path in sorted(paths):
        text = open(path, encoding="utf-8", errors="replace").read()
        lines = text.split("\n")
        out += [l for l in lines if l.strip()][:900]
        out += ["\n".join(lines[i:i + 12]) for i in range(0, min(len(lines), 400), 40)]
    return out[:9000]


def generated_lines():
    r = random.Random(20260729)
    out = []

    def word(ranges, n):
        s = ""
        while len(s) < n:
            a, b = r.choice(ranges)
            c = r.randint(a, b)
            if is_scalar(c):
                s += chr(c)
        return s

    for ranges in SCRIPTS.values():
        for _ in range(260):
            out.append(r.choice([" ", "", "-", ", "]).join(word(ranges, r.randint(1, 9)) for _ in range(r.randint(1, 8))))
    words = ["the", "Hello", "it's", "I'LL", "they've", "don't", "x", "iPhone", "HTTPServer", "naïve", "Straße", "İstanbul", "ſ's", "2nd"]
    for _ in range(2000):  # emoji between words
        out.append("".join(r.choice(EMOJI + words + [" ", "\u200d", "\ufe0f"]) for _ in range(r.randint(1, 10))))
    for _ in range(1500):  # digits
        out.append(r.choice(["", "$", "-", "v"]) + "".join(r.choice("0123456789" * 3 + "., :/+e%xX²½٣५四Ⅷ" + "'") for _ in range(r.randint(1, 24))))
    for _ in range(2500):  # runs of space
        out.append("".join(r.choice(SPACES + words + [" " * r.randint(1, 40)]) for _ in range(r.randint(1, 9))))
    for _ in range(800):  # control characters
        out.append("".join(r.choice([chr(r.randint(1, 31)), chr(r.randint(0x7F, 0x9F)), "a", " ", "Z"]) for _ in range(r.randint(1, 16))))
    for _ in range(1500):  # spellings of special tokens in the text
        out.append("".join(r.choice(SPECIALS + words + [" ", "  ", "\n"]) for _ in range(r.randint(1, 8))))
    for _ in range(1500):  # contractions and punctuation
        out.append("".join(r.choice(words + ["'S", "'T", "'re", "'VE", "'m", "'ll", "'D", "’s", "...", "?!", "--", " ", "(", ")", "\"", "_", "#include", "==", "\\n"])
                           for _ in range(r.randint(1, 14))))
    for _ in range(4000):  # any valid UTF-8
        s = ""
        for _ in range(r.randint(1, 24)):
            c = r.choice([r.randint(1, 0x7F), r.randint(1, 0x7FF), r.randint(1, 0xFFFF), r.randint(0x10000, 0x323AF), r.randint(1, 0x10FFFF)])
            if is_scalar(c):
                s += chr(c)
        out.append(s)
    out += ["", " ", "  ", "\n", "a", "▁", "\u0301", "é" * 300, "a" * 3000, " " * 3000, "ab " * 3000, "あ" * 2000, "1" * 2000, "!?" * 1500,
            "\n" * 999, " \n" * 500, "\u0300" * 500, "'" * 700]
    return out


def code_point_lines():
    """Every code point twice: behind a letter and behind a space."""
    chars = [chr(c) for c in range(1, 0x110000) if is_scalar(c)]
    chars = [c for c in chars if not 0xF0000 <= ord(c) and not (0x32400 <= ord(c) < 0xE0000)]
    return ["".join(f"a{c} {c}1{c}{c}," for c in chars[i:i + 48]) for i in range(0, len(chars), 48)]


# ---------------------------------------------------------------------------
# Tokenizers
# ---------------------------------------------------------------------------

GPT2_REGEX = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_REGEX = LLAMA3_REGEX.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O_REGEX = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]


def byte_alphabet():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in printable:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


def from_tiktoken(path, regex, special, ignore_merges, normalizer=None):
    """As transformers.convert_slow_tokenizer.TikTokenConverter."""
    table = byte_alphabet()
    spell = lambda token: "".join(table[b] for b in token)
    ranks = {}
    for line in open(path, "rb"):
        if line.strip():
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    merges = []
    for token, rank in ranks.items():
        local = []
        for i in range(1, len(token)):
            if token[:i] in ranks and token[i:] in ranks:
                local.append((ranks[token[:i]], ranks[token[i:]], rank, token[:i], token[i:]))
        merges += sorted(local)
    merges.sort(key=lambda m: m[2])
    t = Tokenizer(models.BPE({spell(k): v for k, v in ranks.items()}, [(spell(m[3]), spell(m[4])) for m in merges],
                             fuse_unk=False, ignore_merges=ignore_merges))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in special])
    return t


def gpt2():
    base = os.path.join(DATA, "tokenizers", "gpt2")
    vocab = json.load(open(os.path.join(base, "encoder.json"), encoding="utf-8"))
    merges = [tuple(l.split()) for l in open(os.path.join(base, "vocab.bpe"), encoding="utf-8").read().split("\n")[1:] if l]
    t = Tokenizer(models.BPE(vocab, merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<|endoftext|>", normalized=True, special=True)])
    return t


def train_bpe(text, pre, normalizer=None, decoder=None, alphabet=None, special=(), **options):
    t = Tokenizer(models.BPE(**options))
    if pre:
        t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    special = list(special) + ([options["unk_token"]] if options.get("unk_token") else [])
    if options.get("byte_fallback"):
        special += [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(text, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet or [], special_tokens=special,
                                                    show_progress=False, max_token_length=12))
    if decoder:
        t.decoder = decoder
    return t


def trained_json(text):
    """Small tokenizers for the components that the real files do not use."""
    p, n, d = pre_tokenizers, normalizers, decoders
    alphabet = p.ByteLevel.alphabet()
    byte_level = lambda *before, prefix=False: p.Sequence(list(before) + [p.ByteLevel(add_prefix_space=prefix, use_regex=False)])
    result = {}
    result["gpt4o-regex"] = train_bpe(text, byte_level(p.Split(Regex(GPT4O_REGEX), "isolated")), None, d.ByteLevel(), alphabet)
    result["deepseek-regex"] = train_bpe(text, byte_level(*[p.Split(Regex(x), "isolated") for x in DEEPSEEK]), None, d.ByteLevel(), alphabet)
    result["nfkc-lower-digits"] = train_bpe(text, byte_level(p.Digits(individual_digits=True), p.Punctuation("isolated"), prefix=True),
                                            n.Sequence([n.NFKC(), n.Lowercase(), n.Strip()]), d.ByteLevel(), alphabet)
    result["nfd-contiguous"] = train_bpe(text, byte_level(p.Digits(individual_digits=False), p.Punctuation("contiguous")),
                                         n.Sequence([n.NFD(), n.Replace(Regex(r"\s+"), " ")]), d.ByteLevel(), alphabet)
    result["nfkd-previous"] = train_bpe(text, byte_level(p.Split(" ", "merged_with_previous"), p.Punctuation("merged_with_next")),
                                        n.NFKD(), d.ByteLevel(), alphabet)
    result["word-class"] = train_bpe(text, byte_level(p.Split(Regex(r"\w+|[^\w\s]+"), "removed", invert=True)), None, d.ByteLevel(), alphabet)
    result["metaspace"] = train_bpe(text, p.Metaspace(), None, d.Metaspace(), unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    result["metaspace-never-unk"] = train_bpe(text, p.Sequence([p.Metaspace(prepend_scheme="never", split=True), p.Digits(True)]), None,
                                              d.Metaspace(prepend_scheme="never"), unk_token="<unk>", fuse_unk=False)
    result["fuse-unk"] = train_bpe(text, p.WhitespaceSplit(), n.NFC(), None, unk_token="<unk>", fuse_unk=True)
    result["drop-unknown"] = train_bpe(text, p.Split(Regex(r"[aeiou]"), "merged_with_next"), n.Prepend("_"), d.Fuse())
    llama = n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")])
    chain = d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])
    result["llama-legacy"] = train_bpe(text, None, llama, chain, unk_token="<unk>", byte_fallback=True, fuse_unk=True,
                                       special=["<s>", "</s>"])
    t = Tokenizer.from_str(result["gpt4o-regex"].to_str())
    t.add_tokens([AddedToken("Hello", single_word=True), AddedToken("the", lstrip=True), AddedToken("x", rstrip=True, single_word=True),
                  AddedToken("    ", normalized=False)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("<|im_end|>", rstrip=True, normalized=False)])
    result["added-tokens"] = t
    t = Tokenizer.from_str(result["nfkc-lower-digits"].to_str())
    t.add_tokens([AddedToken("IPHONE", normalized=True), AddedToken("Straße", normalized=True), AddedToken("½", normalized=False)])
    result["added-normalized"] = t
    return result


def trained_sentencepiece(text):
    def train(**options):
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(text), model_writer=out, vocab_size=900, num_threads=1,
                                                 minloglevel=2, hard_vocab_limit=False, **options)
        return out.getvalue()
    return {
        "unigram-nmt": train(model_type="unigram", byte_fallback=True, normalization_rule_name="nmt_nfkc",
                             user_defined_symbols=["<sep>", "iPhone", "don't"]),
        "unigram-cf": train(model_type="unigram", normalization_rule_name="nmt_nfkc_cf", control_symbols=["<mask>"]),
        "unigram-suffix": train(model_type="unigram", normalization_rule_name="nfkc", treat_whitespace_as_suffix=True,
                                remove_extra_whitespaces=False),
        "bpe-user": train(model_type="bpe", normalization_rule_name="nfkc", user_defined_symbols=["<sep>", "the", "    "], byte_fallback=True,
                          remove_extra_whitespaces=False, add_dummy_prefix=False),
        "bpe-split-digits": train(model_type="bpe", normalization_rule_name="identity", split_digits=True, unk_surface="?"),
    }


# ---------------------------------------------------------------------------
# Comparison
# ---------------------------------------------------------------------------

class Failure(Exception):
    pass


class Comparison:
    def __init__(self, tool, folder):
        self.tool, self.folder = tool, folder
        self.compared = self.mismatches = 0

    def run(self, path, records, *options):
        data = b"".join(r.encode("utf-8") + b"\0" for r in records)
        done = subprocess.run([self.tool, path, "--null", *options], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise Failure(f"{path}: {done.stderr.decode(errors='replace').strip()}")
        out = done.stdout.split(b"\0")
        if len(out) != len(records) + 1:
            raise Failure(f"{path}: {len(out) - 1} records for {len(records)}")
        return out[:-1]

    def check(self, name, what, inputs, expected, got):
        bad = 0
        for source, e, g in zip(inputs, expected, got):
            if e != g:
                bad += 1
                if bad <= 3:
                    print(f"  MISMATCH {name} {what}\n    of  {source!r:.300}\n    got {g!r:.300}\n    not {e!r:.300}")
        self.compared += len(inputs)
        self.mismatches += bad
        return bad

    def encode(self, path, lines, *options):
        return [[int(i) for i in r.split()] for r in self.run(path, lines, *options)]

    def compare(self, name, path, lines, encode, decode, encode_special, random_ids):
        started = time.time()
        before = self.mismatches
        expected = encode(lines)
        self.check(name, "ids", lines, expected, self.encode(path, lines))
        if encode_special:
            self.check(name, "ids with specials", lines, encode_special(lines), self.encode(path, lines, "--special"))
        # Decoding: of the ids above and of ids that form no text at all.
        # (NUL separates the records.)
        sequences = expected + [i for i, t in zip(random_ids, decode(random_ids)) if "\0" not in t]
        records = [" ".join(map(str, s)) for s in sequences]
        texts = [t.decode("utf-8") for t in self.run(path, records, "--decode")]
        self.check(name, "text", records, decode(sequences), texts)
        streamed = [t.decode("utf-8") for t in self.run(path, records[:len(expected)], "--decode", "--stream")]
        self.check(name, "streamed text", records, texts[:len(expected)], streamed)
        print(f"{name:24} {len(lines):6} lines  {self.mismatches - before} mismatches  {time.time() - started:.1f} s", flush=True)

    def compare_json(self, name, tokenizer, lines, path=None):
        if path is None:
            path = os.path.join(self.folder, name + ".json")
            tokenizer.save(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()

        def encode(batch, special=False):
            tokenizer.encode_special_tokens = not special
            return [e.ids for e in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]

        r = random.Random(7)
        size = tokenizer.get_vocab_size()
        ids = [[r.randrange(size) for _ in range(r.randint(0, 12))] for _ in range(2000)]
        self.compare(name, path, lines, encode, lambda s: tokenizer.decode_batch(s, skip_special_tokens=True),
                     lambda batch: encode(batch, True), ids)

    def compare_model(self, name, data, lines, path=None):
        if path is None:
            path = os.path.join(self.folder, name + ".model")
            with open(path, "wb") as f:
                f.write(data)
        sp = sentencepiece.SentencePieceProcessor(model_proto=data)
        r = random.Random(7)
        ids = [[r.randrange(sp.get_piece_size()) for _ in range(r.randint(0, 12))] for _ in range(2000)]
        self.compare(name, path, lines, lambda b: [sp.encode(l) for l in b], lambda s: [sp.decode(i) for i in s], None, ids)


def ggml_vectors(comparison):
    """47 vectors each, ids without BOS."""
    folder = os.path.join(DATA, "tokenizers", "ggml-vocab")
    files = {"llama-spm": os.path.join(DATA, "tokenizers", "llama2", "tokenizer.model"),
             "phi-3": os.path.join(DATA, "tokenizers", "llama2", "tokenizer.model"),
             "gpt-2": os.path.join(comparison.folder, "gpt2.json"),
             "mpt": os.path.join(DATA, "tokenizers", "gpt-neox", "tokenizer.json"),
             "llama-bpe": os.path.join(comparison.folder, "llama3.json"),
             "qwen2": os.path.join(comparison.folder, "qwen2.json")}
    for name, path in files.items():
        base = os.path.join(folder, f"ggml-vocab-{name}.gguf")
        inputs = open(base + ".inp", encoding="utf-8", newline="").read().split("\n__ggml_vocab_test__\n")
        outputs = [[int(i) for i in l.split()] for l in open(base + ".out").read().split("\n")]
        outputs = outputs[:len(inputs)]
        bad = comparison.check("ggml " + name, "ids", inputs, outputs, comparison.encode(path, inputs))
        print(f"ggml-vocab {name:13} {len(inputs):6} lines  {bad} mismatches", flush=True)


def bad_files(comparison):
    """Each malformed file is one clear line, not a crash."""
    good = json.loads(Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).to_str())

    def variant(change):
        t = json.loads(json.dumps(good))
        change(t)
        return json.dumps(t).encode()

    def merge(t):
        t["model"]["merges"] = ["a c"]

    def pair(t):
        t["model"]["merges"] = [["a", "b", "c"]]

    def token(**fields):
        entry = {"id": 3, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        entry.update(fields)
        return lambda t: t["added_tokens"].append(entry)

    cases = {
        "empty": b"", "truncated": json.dumps(good).encode()[:90], "not an object": b"[1]", "merge of an absent token": variant(merge),
        "merge of three": variant(pair), "negative id": variant(lambda t: t["model"]["vocab"].update(a=-1)),
        "huge id": variant(lambda t: t["model"]["vocab"].update(a=1 << 40)), "two tokens, one id": variant(lambda t: t["model"]["vocab"].update(b=0)),
        "text id": variant(lambda t: t["model"]["vocab"].update(b="1")), "WordPiece": variant(lambda t: t["model"].update(type="WordPiece")),
        "dropout": variant(lambda t: t["model"].update(dropout=0.5)), "unk absent": variant(lambda t: t["model"].update(unk_token="?")),
        "suffix": variant(lambda t: t["model"].update(end_of_word_suffix="</w>")), "normalizer": variant(lambda t: t.update(normalizer={"type": "Nmt"})),
        "pre_tokenizer": variant(lambda t: t.update(pre_tokenizer={"type": "UnicodeScripts"})), "decoder": variant(lambda t: t.update(decoder={"type": "CTC"})),
        "bad regex": variant(lambda t: t.update(normalizer={"type": "Replace", "pattern": {"Regex": "(a"}, "content": ""})),
        "unknown property": variant(lambda t: t.update(normalizer={"type": "Replace", "pattern": {"Regex": r"\p{Arabic}"}, "content": ""})),
        "added gap": variant(token(id=9)), "added negative": variant(token(id=-3)), "added empty": variant(token(content="")),
        "post_processor": variant(lambda t: t.update(post_processor={"type": "Other"})), "deep": b"[" * 100000,
        "invalid UTF-8": b'{"a": "\xff"}',
    }
    for name, data in cases.items():
        path = os.path.join(comparison.folder, "bad.json")
        with open(path, "wb") as f:
            f.write(data)
        done = subprocess.run([comparison.tool, path], input=b"ab\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        message = done.stderr.decode("utf-8", "replace")
        comparison.compared += 1
        if done.returncode != 1 or message.count("\n") != 1 or "error" not in message:
            comparison.mismatches += 1
            print(f"  MISMATCH bad file '{name}': status {done.returncode}, {message!r}")
    print(f"{'bad files':24} {len(cases):6} cases", flush=True)


def run():
    tool = sys.argv[1] if len(sys.argv) > 1 and os.access(sys.argv[1], os.X_OK) else find_tool()
    if not tool:
        print("skipped: qc-tokenize is not built")
        return None
    if not os.path.isdir(os.path.join(DATA, "tokenizers")):
        print(f"skipped: no shared data at {DATA}")
        return None
    english = data_lines()
    lines = english + code_lines() + generated_lines()
    lines = [l.replace("\0", "") for l in lines]
    random.Random(1).shuffle(lines)
    lines = lines[:LIMIT]
    print(f"tokenizers {tokenizers.__version__}, sentencepiece {sentencepiece.__version__}, {len(lines)} lines", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        c = Comparison(tool, folder)
        shared = lambda *parts: os.path.join(DATA, *parts)
        for name, path in {"gpt-neox": shared("tokenizers", "gpt-neox", "tokenizer.json"), "mistral-v3 json": shared("tokenizers", "mistral-v3", "tokenizer.json"),
                           "stories260K json": shared("models", "stories260K", "tokenizer.json"), "books-5m": shared("models", "books-5m", "tokenizer.json")}.items():
            c.compare_json(name, Tokenizer.from_file(path), lines, path)
        for name, path in {"llama2 model": shared("tokenizers", "llama2", "tokenizer.model"), "mistral-v3 model": shared("tokenizers", "mistral-v3", "tokenizer.model"),
                           "stories260K model": shared("models", "stories260K", "tokenizer.model"), "babyllama": shared("models", "babyllama-tok105", "tokenizer.model"),
                           "tok512": shared("tokenizers", "tok512", "tok512.model")}.items():
            c.compare_model(name, open(path, "rb").read(), lines, path)
        llama3_special = ["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_special_token_{i}|>" for i in range(4)] + [
            "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
        llama3 = from_tiktoken(shared("tokenizers", "llama3", "tokenizer.model"), LLAMA3_REGEX, llama3_special, True)
        llama3.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
            single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", llama3.token_to_id("<|begin_of_text|>"))])])
        qwen2 = from_tiktoken(shared("tokenizers", "qwen", "qwen.tiktoken"), QWEN2_REGEX, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], False,
                              normalizers.NFC())
        c.compare_json("llama3", llama3, lines)
        c.compare_json("qwen2", qwen2, lines)
        c.compare_json("gpt2", gpt2(), lines)
        ggml_vectors(c)
        every = code_point_lines()
        c.compare_json("llama3 (code points)", llama3, every)
        c.compare_json("qwen2 (code points)", qwen2, every)
        c.compare_model("llama2 (code points)", open(shared("tokenizers", "llama2", "tokenizer.model"), "rb").read(), every)
        some = lines[:8000]
        for name, tokenizer in trained_json(english[:6000]).items():
            c.compare_json(name, tokenizer, some + every[:: 1 if "nf" in name or "word" in name or "regex" in name else 40])
        for name, data in trained_sentencepiece(english[:3000]).items():
            c.compare_model(name, data, some + every[::4])
        bad_files(c)
    print(f"compared {c.compared} lines, {c.mismatches} mismatches")
    return c.mismatches


class TokenizerTest(unittest.TestCase):
    def test_equal_to_reference(self):
        result = run()
        if result is None:
            self.skipTest("skipped")
        self.assertEqual(result, 0)


if __name__ == "__main__":
    sys.exit(1 if run() else 0)
