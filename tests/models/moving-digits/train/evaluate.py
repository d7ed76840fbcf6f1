"""Measures an exported model on held-out digits, and draws sample strips.

Reads only the exported folder (plus scikit-learn's digits for a larger
held-out set), so it measures the weights as stored.
"""

import argparse
import json
import os

import numpy as np
import torch
from safetensors.torch import load_file

import data
from model import Llama
from train import accuracy, prompts


def load(folder):
    with open(os.path.join(folder, "config.json")) as f:
        cfg = json.load(f)
    net = Llama(cfg).eval()
    st = load_file(os.path.join(folder, "model.safetensors"))
    net.load_state_dict({k.removeprefix("model."): v.float() for k, v in st.items()})
    cb = load_file(os.path.join(folder, cfg["fastcar_video"]["codebook"]))["codebook"]
    return cfg, net, cb.numpy()


def strip(path, rows):
    """rows: list of [frames,32,32] in 0..1 -> one PNG, two times enlarged."""
    from PIL import Image

    pad = [np.pad(np.concatenate([np.pad(f, 1, constant_values=0.5) for f in r], 1), 1) for r in rows]
    im = (np.concatenate(pad, 0).clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(im).resize((im.shape[1] * 2, im.shape[0] * 2), 0).save(path)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    ap.add_argument("--sequences", type=int, default=256, help="for the larger held-out set")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--pictures", help="folder for PNG strips")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    cfg, net, cb = load(a.model)
    net.to(a.device)
    v = cfg["fastcar_video"]
    h = load_file(os.path.join(a.model, "heldout.safetensors"))
    prompt, tokens, frames = h["prompt"].numpy(), h["tokens"].numpy(), h["frames"].numpy() / 255.0

    def report(name, p, t):
        nll, acc = accuracy(net, p, t, a.device)
        print(f"{name}: accuracy over frames 2..8 {acc[1:].mean():.4f}, over all {acc.mean():.4f}; "
              f"loss over frames 2..8 {nll[1:].mean():.4f}, over all {nll.mean():.4f}")
        print("  accuracy by frame", " ".join(f"{x:.4f}" for x in acc))

    report(f"shipped held-out set ({len(tokens)})", prompt, tokens)
    if a.sequences:
        w, t = data.dataset(a.sequences, "heldout", cb, 4242, False)
        report(f"larger held-out set ({a.sequences})", prompts(w, v["codes"]), t)

    given = torch.from_numpy(tokens[:, 0]).long().to(a.device)
    pr = torch.from_numpy(prompt).long().to(a.device)
    out = net.generate(pr, given, 512).cpu().numpy().reshape(-1, 8, 64)
    got = data.decode(out, cb)
    p = data.psnr(got, frames)
    rec = data.psnr(data.decode(tokens, cb), frames)
    hold = data.psnr(np.repeat(data.decode(tokens[:, :1], cb), 8, 1), frames)
    prev = data.psnr(frames[:, :-1], frames[:, 1:])
    print(f"greedy from the first frame: PSNR over frames 2..8 mean {p[:, 1:].mean():.2f} dB, "
          f"worst sequence {p[:, 1:].mean(1).min():.2f} dB; codes equal to the truth {(out == tokens)[:, 1:].mean():.4f}")
    print("  PSNR by frame", " ".join(f"{x:.2f}" for x in p.mean(0)))
    print(f"codebook alone {rec[:, 1:].mean():.2f} dB; first frame repeated {hold[:, 1:].mean():.2f} dB; "
          f"true previous frame {prev.mean():.2f} dB; "
          f"codes equal to the previous frame's {(tokens[:, 1:] == tokens[:, :-1]).mean():.4f}")
    if a.pictures:
        os.makedirs(a.pictures, exist_ok=True)
        rows = [x for i in range(6) for x in (frames[i], got[i])]
        strip(os.path.join(a.pictures, "continue.png"), rows)
        g = torch.Generator().manual_seed(0)
        none = torch.zeros((8, 0), dtype=torch.long)
        null = torch.tensor([v["null_prompt"]])
        net.cpu()
        for name, s, temp in (("plain", 1.0, 0.9), ("guided", 2.0, 0.9), ("greedy", 1.0, 0.0)):
            o = net.generate(pr[:8].cpu(), none, 512, null, s, temp, g).numpy().reshape(-1, 8, 64)
            strip(os.path.join(a.pictures, f"text-{name}.png"), list(data.decode(o, cb)))
        print("text prompts of the strips:", [" ".join(data.WORDS[i - v["codes"]] for i in q[1:]) for q in prompt[:8]])


if __name__ == "__main__":
    main()
