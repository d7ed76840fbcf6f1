"""Learns the patch codebook by k-means on training digits only.

The background patches are few and exact, so they enter the codebook as they
are; the remaining codes come from k-means over the patches that the digit
touches.
"""

import argparse
import os

import numpy as np
import torch
from safetensors.torch import save_file

import data


def kmeans(x, k, seed, rounds=60):
    g = torch.Generator().manual_seed(seed)
    # k-means++ start on a sample
    s = x[torch.randperm(len(x), generator=g)[:20000]]
    c = s[torch.randint(len(s), (1,), generator=g)]
    d = ((s - c) ** 2).sum(1)
    for _ in range(k - 1):
        j = torch.multinomial(d, 1, generator=g)
        c = torch.cat([c, s[j]])
        d = torch.minimum(d, ((s - s[j]) ** 2).sum(1))
    for _ in range(rounds):
        half = 0.5 * (c * c).sum(1)
        a = torch.cat([torch.addmm(half, q, c.T, alpha=-1).argmin(1) for q in x.split(65536)])
        n = torch.bincount(a, minlength=k)
        t = torch.zeros_like(c).index_add_(0, a, x)
        c = torch.where(n[:, None] > 0, t / n.clamp(min=1)[:, None], c)
        empty = (n == 0).nonzero()[:, 0]
        c[empty] = x[torch.randint(len(x), (len(empty),), generator=g)]
    return c


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--work", default="out/moving-digits", help="working folder")
    ap.add_argument("--codes", type=int, default=256)
    ap.add_argument("--sequences", type=int, default=2000)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    images, labels = data.digit_images("train")
    frames, _, touched = data.scenes(a.sequences, images, labels, np.random.default_rng(a.seed), True)
    # frames 0 and 1 hold every patch phase; later ones repeat them
    x = data.patches(frames[:, :2])[touched[:, :2]]
    x = torch.from_numpy(x).float() / 255
    fixed = torch.from_numpy(data.background_patches()).float() / 255
    c = torch.cat([fixed, kmeans(x, a.codes - len(fixed), a.seed)])
    save_file({"codebook": c.contiguous()}, os.path.join(a.work, "codebook.safetensors"))
    images, labels = data.digit_images("heldout")
    frames, _, touched = data.scenes(400, images, labels, np.random.default_rng(a.seed + 1), False)
    tok = data.encode(frames, c)
    p = data.psnr(data.decode(tok, c.numpy()), frames.astype(np.float32) / 255)
    prev = data.psnr(frames[:, 1:] / 255.0, frames[:, :-1] / 255.0)
    print(f"patches {len(x)}, fixed codes {len(fixed)}, codes {a.codes}")
    print(f"held-out reconstruction {p.mean():.2f} dB (worst frame {p.min():.2f})")
    print(f"digit touches {touched.mean():.3f} of the patches; previous frame as a guess: {prev.mean():.2f} dB, "
          f"{(tok[:, 1:] == tok[:, :-1]).mean():.4f} of the codes equal; "
          f"codes equal to the patch-shifted frame before the last are the rest")


if __name__ == "__main__":
    main()
