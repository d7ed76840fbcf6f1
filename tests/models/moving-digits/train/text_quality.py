"""Does a prompt's digit appear?  Judged by a support-vector classifier.

The classifier learns from first frames made of training digits; the first
frame is then generated from 320 prompts at several settings of guidance and
temperature, and classified.
"""

import argparse
import os

import numpy as np
import torch
from sklearn.svm import SVC

import data
import evaluate
from train import prompts


def features(frames):
    """(the 16x16 around the bright part [n,256], whether there is none [n])."""
    out, empty = [], []
    for x in frames:
        ys, xs = np.nonzero(x > 0.4)
        empty.append((x > 0.5).sum() < 8)
        if empty[-1]:
            out.append(np.zeros(256))
            continue
        cy, cx = (int(round((v.min() + v.max()) / 2)) for v in (ys, xs))
        out.append(np.pad(np.clip(x - 0.3, 0, None), 16)[cy + 8 : cy + 24, cx + 8 : cx + 24].ravel())
    return np.array(out), np.array(empty)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    ap.add_argument("--prompts", type=int, default=320)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    cfg, net, cb = evaluate.load(a.model)
    v = cfg["fastcar_video"]

    def frames(split, n, seed):
        f, w, _ = data.scenes(n, *data.digit_images(split), np.random.default_rng(seed), split == "train")
        return features(data.decode(data.encode(f[:, 0], cb), cb))[0], w[:, 0]

    judge = SVC(C=10).fit(*frames("train", 6000, 3))
    x, y = frames("heldout", 500, 4)
    print(f"classifier on true held-out first frames: {(judge.predict(x) == y).mean():.3f}")
    n, rng = a.prompts, np.random.default_rng(5)
    nd, nw = len(data.DIGITS), len(data.DIRECTIONS)
    w = np.stack([np.arange(n) % nd, nd + rng.integers(0, nw, n), nd + nw + rng.integers(0, len(data.BACKGROUNDS), n)], 1)
    pr = torch.from_numpy(prompts(w, v["codes"]))
    none, null = torch.zeros((n, 0), dtype=torch.long), torch.tensor([v["null_prompt"]])
    for s, t in ((1, 0), (1, 0.7), (1, 0.9), (2, 0), (2, 0.5), (2, 0.9), (3, 0), (4, 0.7)):
        o = net.generate(pr, none, data.TOKENS, null, float(s), t, torch.Generator().manual_seed(0)).numpy()
        x, e = features(data.decode(o, cb))
        ok = (judge.predict(x) == w[:, 0]) & ~e
        print(f"guidance {s} temperature {t}: right digit {ok.mean():.3f}, no digit {e.mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
