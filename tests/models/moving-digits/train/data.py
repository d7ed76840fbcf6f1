"""Moving handwritten digits over static textures: the data set.

A sequence shows one handwritten digit (scikit-learn's bundled "digits", 8x8
pixels, drawn at 16x16) that moves by two pixels per frame in one of eight
directions over a static, low-contrast background.  Frames are 32x32
greyscale; there are eight of them.

Two properties are wanted and come from the arithmetic below:

* The digit moves by exactly one 4x4 patch every two frames and every
  background repeats with period four, so the patches of frame t are the
  patches of frame t-2 moved by one patch.  The codes are therefore almost
  fully predictable from the context.
* Frame t differs from frame t-1 wherever the digit is, so that a player which
  repeats the last frame (or reads a stale cache) loses visibly.

The images of scikit-learn's set are split by index: the first 80 % are for
training (codebook and model), the last 20 % are held out.
"""

import numpy as np
import torch
import torch.nn.functional as F

FRAMES = 8
SIZE = 32
PATCH = 4
GRID = SIZE // PATCH
TOKENS = GRID * GRID
SPRITE = 16
STEP = 2
TRAVEL = STEP * (FRAMES - 1)

DIGITS = [str(i) for i in range(10)]
DIRECTIONS = {  # word -> (dx, dy), y points down
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up-left": (-1, -1),
    "up-right": (1, -1),
    "down-left": (-1, 1),
    "down-right": (1, 1),
}
BACKGROUNDS = ["plain", "stripes", "bars", "checker", "dots", "grid", "waves", "slashes"]
SPECIAL = ["[BOS]", "[NULL]", "[UNK]"]
WORDS = DIGITS + list(DIRECTIONS) + BACKGROUNDS + SPECIAL

BASE, CONTRAST = 0.10, 0.12
INK = (0.85, 1.0)


def vocabulary(codes):
    """Token ids: image codes first, then the prompt words."""
    return {w: codes + i for i, w in enumerate(WORDS)}


def digit_images(split):
    """(images [n,8,8] in 0..1, labels [n]) of one split ("train" or "heldout")."""
    from sklearn.datasets import load_digits

    d = load_digits()
    cut = int(len(d.images) * 0.8)
    part = slice(0, cut) if split == "train" else slice(cut, None)
    return d.images[part].astype(np.float32) / 16.0, d.target[part].astype(np.int64)


def sprites(images, rng, augment):
    """Draws 8x8 digits smoothly at 16x16; `augment` turns and scales them a little."""
    n = len(images)
    ang = np.zeros(n)
    scale = np.ones(n)
    shift = np.zeros((n, 2))
    if augment:
        ang = rng.uniform(-0.12, 0.12, n)
        scale = rng.uniform(0.95, 1.12, n)
        shift = rng.uniform(-0.5, 0.5, (n, 2)) * (2.0 / SPRITE)
    c, s = np.cos(ang) * scale, np.sin(ang) * scale
    theta = np.stack([np.stack([c, -s, shift[:, 0]], 1), np.stack([s, c, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(torch.from_numpy(theta).float(), (n, 1, SPRITE, SPRITE), align_corners=False)
    x = torch.from_numpy(images)[:, None]
    y = F.grid_sample(x, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    return (y[:, 0] * 1.1).clamp(0, 1).numpy()


def tile(name, phase):
    """The 4x4 tile (0..1) of a background; `phase` is 0 or 1 (moved by two pixels)."""
    y, x = np.mgrid[0:4, 0:4]
    t = {
        "plain": np.zeros((4, 4)),
        "stripes": (y < 2) * 1.0,
        "bars": (x < 2) * 1.0,
        "checker": ((x // 2 + y // 2) % 2) * 1.0,
        "dots": ((x < 2) & (y < 2)) * 1.0,
        "grid": ((x == 0) | (y == 0)) * 1.0,
        "waves": 0.5 + 0.5 * np.sin(np.pi * (x + y) / 2),
        "slashes": ((x - y) % 4 == 0) * 1.0,
    }[name]
    p = 2 * phase
    return np.roll(t, {"stripes": (p, 0), "dots": (p, p), "grid": (p, p)}.get(name, (0, p)), (0, 1))


TILES = np.stack([[tile(b, p) for p in (0, 1)] for b in BACKGROUNDS])


def background_patches():
    """The distinct background patches [n,16], as 8-bit pixel values."""
    t = np.rint((BASE + CONTRAST * TILES.reshape(-1, 16)) * 255).astype(np.uint8)
    return np.unique(t, axis=0)


def scenes(n, images, labels, rng, augment):
    """n random sequences: (frames u8 [n,8,32,32], prompt word indices [n,3], ink mask [n,8,64])."""
    pick = rng.integers(0, len(images), n)
    spr = sprites(images[pick], rng, augment)
    way = rng.integers(0, len(DIRECTIONS), n)
    bg = rng.integers(0, len(BACKGROUNDS), n)
    phase = rng.integers(0, 2, n)
    ink = rng.uniform(*INK, n).astype(np.float32)
    d = np.array(list(DIRECTIONS.values()))[way]  # [n,2] dx, dy
    room = SIZE - SPRITE
    slots = np.where(d == 0, room // STEP + 1, (room - TRAVEL) // STEP + 1)
    lo = np.where(d < 0, TRAVEL, 0)
    start = lo + STEP * np.floor(rng.random((n, 2)) * slots).astype(np.int64)
    alpha = np.zeros((n, FRAMES, SIZE, SIZE), np.float32)
    for i in range(n):
        for t in range(FRAMES):
            x, y = start[i] + d[i] * STEP * t
            alpha[i, t, y : y + SPRITE, x : x + SPRITE] = spr[i]
    back = np.tile(BASE + CONTRAST * TILES[bg, phase], (1, GRID, GRID)).astype(np.float32)[:, None]
    frames = back * (1 - alpha) + ink[:, None, None, None] * alpha
    frames = np.rint(frames * 255).clip(0, 255).astype(np.uint8)
    nd = len(DIGITS)
    words = np.stack([labels[pick], nd + way, nd + len(DIRECTIONS) + bg], 1)
    touched = patches(alpha).max(-1) > 0.01
    return frames, words, touched


def patches(frames):
    """[...,32,32] -> [...,64,16], raster order, each patch row-major."""
    lead = frames.shape[:-2]
    p = frames.reshape(*lead, GRID, PATCH, GRID, PATCH)
    p = np.moveaxis(p, -3, -2)
    return p.reshape(*lead, TOKENS, PATCH * PATCH)


def unpatches(p):
    """[...,64,16] -> [...,32,32]."""
    lead = p.shape[:-2]
    p = p.reshape(*lead, GRID, GRID, PATCH, PATCH)
    p = np.moveaxis(p, -3, -2)
    return p.reshape(*lead, SIZE, SIZE)


def encode(frames, codebook):
    """8-bit frames [...,32,32] -> nearest codes [...,64] (int16)."""
    p = torch.from_numpy(patches(frames).reshape(-1, 16)).float() / 255
    cb = torch.as_tensor(codebook)
    half = 0.5 * (cb * cb).sum(1)
    out = torch.cat([torch.addmm(half, q, cb.T, alpha=-1).argmin(1) for q in p.split(65536)])
    return out.numpy().astype(np.int16).reshape(*frames.shape[:-2], TOKENS)


def decode(tokens, codebook):
    """Codes [...,64] -> frames [...,32,32], f32 in 0..1."""
    return unpatches(np.asarray(codebook)[tokens])


def psnr(a, b):
    """Per-frame PSNR in dB of images in 0..1, [...,32,32] -> [...]."""
    mse = ((a - b) ** 2).mean((-2, -1))
    return -10 * np.log10(np.maximum(mse, 1e-10))


def dataset(n, split, codebook, seed, augment):
    """n encoded sequences: (prompt word indices int16 [n,3], codes int16 [n,8,64])."""
    images, labels = digit_images(split)
    rng = np.random.default_rng(seed)
    ps, ts = [], []
    for at in range(0, n, 2048):
        f, w, _ = scenes(min(2048, n - at), images, labels, rng, augment)
        ps.append(w.astype(np.int16))
        ts.append(encode(f, codebook))
    return np.concatenate(ps), np.concatenate(ts)
