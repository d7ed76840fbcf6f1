"""Records logits of transformers' LlamaForCausalLM.  See README.md."""

import json
import os
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))

# hidden ffn layers heads kv head_dim vocab theta eps tied dtype tokens shard-size old-style-config
CASES = [
    (64, 96, 3, 2, 2, 32, 64, 1e4, 1e-5, False, "float32", 32, None, False),
    (96, 96, 2, 4, 1, 32, 96, 5e5, 1e-6, False, "float32", 40, None, True),
    (64, 96, 2, 4, 2, 32, 80, 1e2, 1e-3, True, "float32", 24, None, False),
    (96, 64, 2, 3, 3, 32, 72, 1e4, 1e-6, False, "float32", 33, "150KB", False),
    (64, 192, 2, 4, 2, 32, 64, 5e5, 1e-5, True, "float16", 28, None, True),
    (96, 64, 2, 2, 1, 64, 96, 1e4, 1e-5, False, "bfloat16", 31, None, False),
    (32, 64, 3, 1, 1, 32, 64, 1e2, 1e-6, True, "bfloat16", 37, None, True),
    (128, 96, 2, 2, 2, 32, 88, 5e5, 1e-3, False, "float16", 36, "100KB", False),
]


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for i, (d, f, l, h, kv, hd, v, theta, eps, tied, dt, t, shard, old) in enumerate(CASES):
        torch.manual_seed(100 + i)
        cfg = LlamaConfig(
            hidden_size=d, intermediate_size=f, num_hidden_layers=l, num_attention_heads=h,
            num_key_value_heads=kv, head_dim=hd, vocab_size=v, rms_norm_eps=eps,
            rope_parameters={"rope_type": "default", "rope_theta": theta},
            tie_word_embeddings=tied, max_position_embeddings=128, initializer_range=0.08,
            bos_token_id=0, eos_token_id=1, pad_token_id=None,
        )
        m = LlamaForCausalLM(cfg).eval()
        with torch.no_grad():
            for n, p in m.named_parameters():
                if "norm" in n:
                    p.copy_(1 + 0.3 * torch.randn_like(p))
                elif "embed" in n:
                    p.copy_(0.5 * torch.randn_like(p))
                elif "_proj" in n:
                    p.copy_(1.2 * torch.randn_like(p) * p.shape[1] ** -0.5)
        m = m.to(getattr(torch, dt))
        out = os.path.join(HERE, f"case_{i}")
        shutil.rmtree(out, ignore_errors=True)
        m.save_pretrained(out, **({"max_shard_size": shard} if shard else {}))
        gen = os.path.join(out, "generation_config.json")
        if os.path.exists(gen):
            os.remove(gen)
        path = os.path.join(out, "config.json")
        if old:
            # the layout that transformers 4 wrote
            with open(path) as fh:
                c = json.load(fh)
            del c["rope_parameters"]
            c["rope_theta"], c["rope_scaling"], c["torch_dtype"] = theta, None, c.pop("dtype")
            with open(path, "w") as fh:
                json.dump(dict(sorted(c.items())), fh, indent=2)
                fh.write("\n")
        m = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(0, v, (t,))
        with torch.no_grad():
            lg = m(ids[None]).logits[0]
            lg64 = m.double()(ids[None]).logits[0]
        err = (lg - lg64).abs().max().item()
        save_file({"input_ids": ids.int(), "logits": lg.contiguous()}, os.path.join(out, "expected.safetensors"))
        print(f"case_{i}: {sum(p.numel() for p in m.parameters())} weights, logits std {lg.std():.3f}, "
              f"largest {lg.abs().max():.3f}, float32 against float64 {err:.1e}, files {sorted(os.listdir(out))}")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
