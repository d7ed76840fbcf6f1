"""Records conversions as PyPI's ml_dtypes makes them.  See README.md."""

import json
import os

import ml_dtypes
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
E2M1, E8M0, BF16 = ml_dtypes.float4_e2m1fn, ml_dtypes.float8_e8m0fnu, ml_dtypes.bfloat16
index = {"ml_dtypes": ml_dtypes.__version__, "numpy": np.__version__, "byte_order": "little", "files": {}}


def put(name, a, about):
    a = np.ascontiguousarray(a)
    a = a.astype(a.dtype.newbyteorder("<"))
    a.tofile(os.path.join(HERE, name))
    index["files"][name] = {"dtype": {"uint8": "u8", "uint16": "u16", "uint32": "u32"}[a.dtype.name],
                            "shape": list(a.shape), "about": about}


def bits(x):
    return np.asarray(x, np.float32).view(np.uint32)


def near(x):
    """x and its two f32 neighbours."""
    x = np.asarray(x, np.float32)
    return np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])


def hexes(u, w):
    return [f"0x{int(v):0{w}x}" for v in u]


# float4_e2m1fn
codes = np.arange(16, dtype=np.uint8).view(E2M1).astype(np.float32)
vals = np.unique(np.abs(codes))
ties = (vals[1:] + vals[:-1]) / 2
edge = np.array([6.0, 6.25, 6.5, 7.0, 7.5, 8.0, 12.0, 1e2, 65504.0, 1e10, 3.4028235e38], np.float32)
tiny = np.array([0x1, 0x2, 0x7FFFFF, 0x800000, 0x00400000, 0x33800000], np.uint32).view(np.float32)
half = np.concatenate([near(ties), near(vals[1:]), near(edge[:-1]), edge[-1:], tiny, [np.float32(np.inf)]])
x = np.concatenate([np.arange(-512, 513, dtype=np.float32) / 64, half, -half]).astype(np.float32)
x = np.concatenate([x, np.array([-0.0], np.float32)])
nan = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF], np.uint32)
xb = np.unique(np.concatenate([bits(x), nan]))
with np.errstate(all="ignore"):
    y = xb.view(np.float32).astype(E2M1).view(np.uint8)
put("e2m1_from_f32.input.bin", xb, "f32 bit patterns")
put("e2m1_from_f32.output.bin", y, "float4_e2m1fn code in the low four bits (sign, two exponent, one mantissa bit)")

# float8_e8m0fnu
e8 = np.arange(256, dtype=np.uint8).view(E8M0).astype(np.float32)
k = np.arange(-149, 128)
pow2 = np.ldexp(np.float32(1), k).astype(np.float32)
grid = np.outer(np.ldexp(np.float32(1), np.arange(-127, 127)).astype(np.float64),
                [1.0, 1.125, 1.25, 1.375, 1.4142135, 1.5, 1.625, 1.75, 1.875, 1.9999999]).ravel().astype(np.float32)
mid = np.ldexp(np.float64(1.5), np.arange(-128, 127)).astype(np.float32)
x = np.concatenate([near(pow2), grid, near(mid), np.array([0.0, -0.0, -1.0, -2.5, np.inf, -np.inf, 3.4028235e38], np.float32)])
xb = np.unique(np.concatenate([bits(x), nan]))
with np.errstate(all="ignore"):
    y8 = xb.view(np.float32).astype(E8M0).view(np.uint8)
put("e8m0_from_f32.input.bin", xb, "f32 bit patterns")
put("e8m0_from_f32.output.bin", y8, "float8_e8m0fnu code (biased exponent, 0xff is NaN)")

# bfloat16
rng = np.random.default_rng(2024)
r = rng.integers(0, 1 << 32, 12000, dtype=np.uint64).astype(np.uint32)
hi = rng.integers(0, 1 << 16, 2000, dtype=np.uint64).astype(np.uint32) << 16
t = np.concatenate([hi | 0x8000, hi | 0x7FFF, hi | 0x8001, hi])
n = bits(rng.standard_normal(4000).astype(np.float32))
s = np.array([0, 0x80000000, 1, 0x80000001, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 0x7F800000, 0xFF800000,
              0x7F800001, 0x7FC00000, 0xFFC00000], np.uint32)
xb = np.unique(np.concatenate([r, t, n, s]).astype(np.uint32))
with np.errstate(all="ignore"):
    yb = xb.view(np.float32).astype(BF16).view(np.uint16)
put("bf16_from_f32.input.bin", xb, "f32 bit patterns")
put("bf16_from_f32.output.bin", yb, "bfloat16 bit patterns")

# float16 (numpy), both ways
h = np.arange(65536, dtype=np.uint32).astype(np.uint16)
put("f32_from_f16.output.bin", bits(h.view(np.float16).astype(np.float32)), "f32 bit patterns of all 65536 float16 values, in code order")
m = rng.integers(0, 0x7BFF, 2000)
fm = (h[m].view(np.float16).astype(np.float64) + h[m + 1].view(np.float16).astype(np.float64)) / 2
sgn = rng.choice([-1.0, 1.0], 2000)
small = rng.standard_normal(4000) * 10.0 ** rng.integers(-9, 6, 4000)
edge = np.array([0.0, -0.0, 65504.0, 65519.996, 65520.0, 65536.0, np.inf, 5.9604645e-8, 2.9802322e-8, 2.9802326e-8])
x = np.concatenate([near((fm * sgn).astype(np.float32)), small.astype(np.float32), edge.astype(np.float32), -edge.astype(np.float32)])
xb = np.unique(bits(x))
with np.errstate(all="ignore"):
    yh = xb.view(np.float32).astype(np.float16).view(np.uint16)
put("f16_from_f32.input.bin", xb, "f32 bit patterns")
put("f16_from_f32.output.bin", yh, "float16 bit patterns, by numpy's astype")


def at(v, d):
    with np.errstate(all="ignore"):
        return f"0x{int(np.array([v], np.float32).astype(d).view(np.uint8)[0]):02x}"


index["e2m1_values"] = [float(v) for v in codes]
index["e2m1_value_bits"] = hexes(bits(codes), 8)
index["e8m0_value_bits"] = hexes(bits(e8), 8)
index["observed"] = {
    "e2m1_ties": {repr(float(v)): at(v, E2M1) for v in ties},
    "e2m1_special": {s: at(float(s), E2M1) for s in ("6.5", "7.0", "8.0", "1e30", "inf", "-inf", "nan", "-0.0")},
    "e8m0_between_1_and_2": {repr(v): at(v, E8M0) for v in (1.25, 1.4142135, 1.4999999, 1.5, 1.5000001, 1.75)},
    "e8m0_between_2_and_4": {repr(v): at(v, E8M0) for v in (2.5, 2.9999998, 3.0, 3.0000002, 3.5)},
    "e8m0_special": {s: at(float(s), E8M0) for s in ("0.0", "-0.0", "-1.0", "inf", "-inf", "nan", "3.4028235e38", "1e-45", "5.877472e-39")},
}
with open(os.path.join(HERE, "vectors.json"), "w") as f:
    json.dump(index, f, indent=1)
    f.write("\n")
print(json.dumps(index["observed"], indent=1))
