"""Writes the files that ship: config, weights, codebook, tokenizer, held-out set.

Checks that transformers' LlamaForCausalLM loads the result and agrees with the
model of model.py, and that tokenizers gives the ids that config.json assumes.
"""

import argparse
import json
import os
import shutil

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import data
from model import Llama
from train import prompts


def hf_names(state):
    return {k if k.startswith("lm_head") else "model." + k: v for k, v in state.items()}


def tokenizer(codes):
    v = data.vocabulary(codes)
    t = Tokenizer(models.WordLevel(v, unk_token="[UNK]"))
    t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", v["[BOS]"])])
    t.add_special_tokens(data.SPECIAL)
    return t


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--work", default="out/moving-digits")
    ap.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    ap.add_argument("--checkpoint", default="checkpoint.pt")
    ap.add_argument("--dtype", default="F16", choices=["F16", "BF16", "F32"])
    ap.add_argument("--heldout", type=int, default=32)
    ap.add_argument("--seed", type=int, default=7)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    ck = torch.load(os.path.join(a.work, a.checkpoint), map_location="cpu", weights_only=True)
    with open(os.path.join(a.work, "config.json")) as f:
        cfg = json.load(f)
    dt = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}[a.dtype]
    cfg["torch_dtype"] = str(dt).split(".")[1]
    state = {k: v.to(dt).contiguous() for k, v in hf_names(ck["net"]).items()}
    save_file(state, os.path.join(a.out, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(a.out, "config.json"), "w") as f:
        json.dump(cfg, f, indent=2)
        f.write("\n")
    cb = load_file(os.path.join(a.work, "codebook.safetensors"))["codebook"]
    shutil.copyfile(os.path.join(a.work, "codebook.safetensors"), os.path.join(a.out, "codebook.safetensors"))
    codes = len(cb)
    tok = tokenizer(codes)
    tok.save(os.path.join(a.out, "tokenizer.json"))

    images, labels = data.digit_images("heldout")
    frames, words, _ = data.scenes(a.heldout, images, labels, np.random.default_rng(a.seed), False)
    prompt = prompts(words, codes)
    for w, p in zip(words, prompt):
        text = " ".join(data.WORDS[i] for i in w)
        assert tok.encode(text).ids == p.tolist(), text
    assert tok.encode("7 LEFT nothing").ids[3] == data.vocabulary(codes)["[UNK]"]
    tokens = data.encode(frames, cb)
    save_file({"prompt": torch.from_numpy(prompt).int(), "tokens": torch.from_numpy(tokens).int(),
               "frames": torch.from_numpy(frames)}, os.path.join(a.out, "heldout.safetensors"))

    for name in ("model", "heldout", "codebook"):
        os.chmod(os.path.join(a.out, name + ".safetensors"), 0o644)

    from transformers import LlamaForCausalLM

    hf = LlamaForCausalLM.from_pretrained(a.out, dtype=torch.float32, attn_implementation="eager").eval()
    own = Llama(cfg).eval()
    own.load_state_dict({k: v.to(dt).float() for k, v in ck["net"].items()})
    ids = torch.from_numpy(np.concatenate([prompt, tokens.reshape(a.heldout, -1)], 1)[:4]).long()
    with torch.no_grad():
        worst = (hf(ids).logits - own(ids)).abs().max().item()
    assert worst < 1e-3, worst
    print(f"step {ck['step']} of {ck['total']}, {ck['seconds']:.0f} s: "
          f"{sum(v.numel() for v in state.values())} weights as {a.dtype}; "
          f"logits agree with transformers to {worst:.1e}")


if __name__ == "__main__":
    main()
