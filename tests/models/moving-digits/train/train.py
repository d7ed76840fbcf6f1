"""Trains the moving-digits model; checkpointed, and resumes by itself.

    python vq.py    --work WORK
    python train.py --work WORK

The schedule is a list of stages FRAMES:BATCH:STEPS; short clips first teach
the copying, full clips then teach all positions.  The learning rate warms up,
stays flat, and falls linearly to zero over the last part of all steps.
Run the same command again to go on from the last checkpoint; pass a longer
--stages to train further (the fall is then computed for the new length).
"""

import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import data
from model import Llama


def config(codes, a):
    words = data.vocabulary(codes)
    vocab = -(-(codes + len(words)) // 32) * 32
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": a.hidden,
        "intermediate_size": a.ffn,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.heads,
        "head_dim": a.hidden // a.heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": a.theta,
        "rope_scaling": None,
        "vocab_size": vocab,
        "max_position_embeddings": 1024,
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": words["[BOS]"],
        "eos_token_id": None,
        "pad_token_id": None,
        "use_cache": True,
        "torch_dtype": "float16",
        "fastcar_video": {
            "frames": data.FRAMES,
            "grid": [data.GRID, data.GRID],
            "patch": [data.PATCH, data.PATCH],
            "channels": 1,
            "tokens_per_frame": data.TOKENS,
            "codebook": "codebook.safetensors",
            "code_offset": 0,
            "codes": codes,
            "prompt_tokens": 4,
            "null_prompt": [words["[BOS]"]] + [words["[NULL]"]] * 3,
        },
    }


def prompts(words, codes):
    """Word indices [n,3] -> prompt ids [n,4]."""
    bos = np.full((len(words), 1), data.vocabulary(codes)["[BOS]"])
    return np.concatenate([bos, words.astype(np.int64) + codes], 1)


@torch.no_grad()
def accuracy(net, prompt, tokens, device):
    """Teacher-forced: (loss, share of right codes) per frame, each [frames]."""
    n, f, k = tokens.shape
    ok, nll = torch.zeros(f), torch.zeros(f)
    for i in range(0, n, 16):
        p = torch.as_tensor(prompt[i : i + 16]).long().to(device)
        t = torch.as_tensor(tokens[i : i + 16]).long().flatten(1).to(device)
        lg = net(torch.cat((p, t), 1)[:, :-1])[:, p.shape[1] - 1 :].float()
        nll += F.cross_entropy(lg.transpose(1, 2), t, reduction="none").view(-1, f, k).mean(2).sum(0).cpu()
        ok += (lg.argmax(-1) == t).float().view(-1, f, k).mean(2).sum(0).cpu()
    return (nll / n).numpy(), (ok / n).numpy()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--work", default="out/moving-digits")
    ap.add_argument("--device", default="cpu", help="cpu or cuda")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--stages", default="3:64:2000,8:24:3000", help="FRAMES:BATCH:STEPS,...")
    ap.add_argument("--sequences", type=int, default=65536)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--fall", type=float, default=0.35, help="last part of the steps over which the rate falls")
    ap.add_argument("--first-weight", type=float, default=0.5, help="loss weight of the first frame")
    ap.add_argument("--save-every", type=int, default=250)
    ap.add_argument("--hidden", type=int, default=128)
    ap.add_argument("--ffn", type=int, default=352)
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--theta", type=float, default=1000.0)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    dev = torch.device(a.device)

    cb = load_file(os.path.join(a.work, "codebook.safetensors"))["codebook"]
    codes = len(cb)
    cfg = config(codes, a)
    with open(os.path.join(a.work, "config.json"), "w") as f:
        json.dump(cfg, f, indent=2)
    cache = os.path.join(a.work, f"train-{a.sequences}-{a.seed}.npz")
    if not os.path.exists(cache):
        w, t = data.dataset(a.sequences, "train", cb, a.seed + 100, True)
        np.savez(cache, words=w, tokens=t)
    z = np.load(cache)
    prompt, tokens = prompts(z["words"], codes), z["tokens"].reshape(a.sequences, -1)
    hw, ht = data.dataset(64, "heldout", cb, a.seed + 200, False)
    null = np.array(cfg["fastcar_video"]["null_prompt"])

    net = Llama(cfg).to(dev)
    mats = [p for n, p in net.layers.named_parameters() if p.ndim == 2]
    ids = {id(p) for p in mats}
    rest = [p for p in net.parameters() if id(p) not in ids]
    opts = [
        torch.optim.Muon(mats, lr=a.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=a.lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    stages = [tuple(map(int, s.split(":"))) for s in a.stages.split(",")]
    total = sum(s[2] for s in stages)
    fall = int(total * a.fall)
    step, spent = 0, 0.0
    last = os.path.join(a.work, "checkpoint.pt")
    if os.path.exists(last):
        ck = torch.load(last, map_location=dev, weights_only=True)
        net.load_state_dict(ck["net"])
        for o, s in zip(opts, ck["opts"]):
            o.load_state_dict(s)
        step, spent = ck["step"], ck["seconds"]
        print(f"resumed at step {step}", flush=True)

    def save():
        torch.save({"net": net.state_dict(), "opts": [o.state_dict() for o in opts],
                    "step": step, "seconds": spent, "total": total}, last + ".new")
        os.replace(last + ".new", last)

    run, seen = 0.0, 0
    while step < total:
        at = step
        for frames, batch, count in stages:
            if at < count:
                break
            at -= count
        begun = time.time()
        rate = a.lr * min(1.0, (step + 1) / 100, (total - step) / max(fall, 1))
        for o in opts:
            for g in o.param_groups:
                g["lr"] = rate
        rng = np.random.default_rng([a.seed, step])
        j = rng.integers(0, a.sequences, batch)
        p = np.where(rng.random((batch, 1)) < 0.1, null, prompt[j])
        n = frames * data.TOKENS
        x = torch.from_numpy(np.concatenate([p, tokens[j, :n]], 1).astype(np.int64)).to(dev)
        with torch.autocast(dev.type, torch.bfloat16):
            lg = net(x[:, :-1])[:, 3:]
        y = x[:, 4:]
        ce = F.cross_entropy(lg.float().flatten(0, 1), y.flatten(), reduction="none").view(batch, n)
        wt = torch.ones(n, device=dev)
        wt[: data.TOKENS] = a.first_weight
        loss = (ce * wt).sum() / (wt.sum() * batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for o in opts:
            o.step()
            o.zero_grad(set_to_none=True)
        step += 1
        spent += time.time() - begun
        run, seen = run + ce.detach()[:, data.TOKENS :].mean().item(), seen + 1
        if step % 50 == 0:
            print(f"step {step}/{total} frames {frames} loss after first {run / seen:.4f} "
                  f"lr {rate:.2e} {spent:.0f} s", flush=True)
            run, seen = 0.0, 0
        if step % a.save_every == 0 or step == total:
            save()
            nll, acc = accuracy(net, prompts(hw, codes), ht[:, :frames], dev)
            print(f"held-out step {step}: accuracy after first {acc[1:].mean():.4f}, "
                  f"loss after first {nll[1:].mean():.4f}, "
                  f"by frame {np.round(acc, 3).tolist()}", flush=True)


if __name__ == "__main__":
    main()
