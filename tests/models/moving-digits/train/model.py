"""A small LLaMA decoder, the arithmetic of Hugging Face's LlamaForCausalLM.

Module names are chosen so that `state_dict()` has the Hugging Face tensor
names once the prefix "model." is put before everything but `lm_head`.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Norm(nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x):
        f = x.float()
        f = f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight * f).to(x.dtype)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.h, self.kv, self.hd = (c["hidden_size"], c["num_attention_heads"],
                                       c["num_key_value_heads"], c["head_dim"])
        self.q_proj = nn.Linear(d, self.h * self.hd, bias=False)
        self.k_proj = nn.Linear(d, self.kv * self.hd, bias=False)
        self.v_proj = nn.Linear(d, self.kv * self.hd, bias=False)
        self.o_proj = nn.Linear(self.h * self.hd, d, bias=False)

    def forward(self, x, cos, sin, cache=None):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.h, self.hd).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv, self.hd).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv, self.hd).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        if self.kv != self.h:
            k = k.repeat_interleave(self.h // self.kv, 1)
            v = v.repeat_interleave(self.h // self.kv, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, f = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(d, f, bias=False)
        self.up_proj = nn.Linear(d, f, bias=False)
        self.down_proj = nn.Linear(f, d, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = Mlp(c)
        self.input_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x, cos, sin, cache=None):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)
        hd = c["head_dim"]
        f = c["rope_theta"] ** (-torch.arange(0, hd, 2).float() / hd)
        ang = torch.outer(torch.arange(c["max_position_embeddings"]).float(), f)
        ang = torch.cat((ang, ang), -1)
        self.register_buffer("cos", ang.cos(), persistent=False)
        self.register_buffer("sin", ang.sin(), persistent=False)
        for n, p in self.named_parameters():
            if p.ndim == 2:
                s = 0.02 if "embed" in n or "lm_head" in n else p.shape[1] ** -0.5
                if "o_proj" in n or "down_proj" in n:
                    s *= (2 * c["num_hidden_layers"]) ** -0.5
                nn.init.normal_(p, std=s)

    def forward(self, ids, caches=None, start=0):
        x = self.embed_tokens(ids)
        t = ids.shape[1]
        cos, sin = self.cos[start : start + t], self.sin[start : start + t]
        if torch.is_autocast_enabled(x.device.type):
            dt = torch.get_autocast_dtype(x.device.type)
            x, cos, sin = x.to(dt), cos.to(dt), sin.to(dt)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, None if caches is None else caches[i])
        return self.lm_head(self.norm(x))

    @torch.no_grad()
    def generate(self, prompt, given, total, null=None, guidance=1.0, temperature=0.0, generator=None):
        """Appends codes to `given` ([b,g], may be empty) until `total`; ids [b,total].

        `null` and `guidance` turn on classifier-free guidance; temperature 0 is greedy.
        """
        b = len(prompt)
        codes = self.c["fastcar_video"]["codes"]
        if guidance != 1.0:
            prompt = torch.cat((prompt, null.expand_as(prompt)))
            given = torch.cat((given, given))
        caches = [[] for _ in self.layers]
        ids = torch.cat((prompt, given), 1)
        out, at, step = given, 0, ids
        while out.shape[1] < total:
            lg = self(step, caches, at)[:, -1, :codes].float()
            at += step.shape[1]
            if guidance != 1.0:
                lg = lg[b:] + guidance * (lg[:b] - lg[b:])
            if temperature > 0:
                nxt = torch.multinomial((lg / temperature).softmax(-1), 1, generator=generator)
            else:
                nxt = lg.argmax(-1, keepdim=True)
            step = torch.cat((nxt, nxt)) if guidance != 1.0 else nxt
            out = torch.cat((out, step), 1)
        return out[:b]
