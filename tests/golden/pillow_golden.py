#!/usr/bin/env python3
"""What Pillow makes of picture files and of resizing, for tests/parity/pillow.rs.

    python pillow_golden.py DIR       (Pillow 13.0.0; the committed DIR is tests/golden/pillow)

DIR gets small picture files in every format and mode that is read, and pillow.json: for each file the size and the
SHA-256 of `convert("RGB")`, for each resize the SHA-256 of the result. Pictures to resize are drawn from a congruential
generator that both sides have, so that only digests are stored. Pillow 12 gives the older order of passes: with it,
`--order pillow12` writes pillow12.json instead.
"""
import argparse
import hashlib
import io
import json
import os
import random

import numpy as np
import PIL
from PIL import Image

digest = lambda data: hashlib.sha256(data).hexdigest()


def noise(width, height, channels, seed):
    """Bytes of x -> 1664525 x + 1013904223 mod 2^32, the top eight bits of each."""
    n = width * height * channels
    a, c, out, x = 1664525, 1013904223, np.empty(n, np.uint8), seed
    for i in range(n):
        x = (a * x + c) & 0xFFFFFFFF
        out[i] = x >> 24
    return out.reshape(height, width, channels)


def smooth(width, height, seed):
    """A picture with edges and gradients, as photographs have them."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    planes = [127 + 90 * np.sin(x / rng.uniform(3, 20)) + 40 * np.cos((x + y) / rng.uniform(3, 20)) + 30 * (x > width / 2) for _ in range(3)]
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))


def files(out):
    rgb, alpha = smooth(61, 47, 0), Image.fromarray(noise(61, 47, 1, 5)[:, :, 0])
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey, palette = rgb.convert("L"), rgb.quantize(40)
    deep = Image.fromarray((np.arange(61 * 47, dtype=np.uint32).reshape(47, 61) * 23 % 65536).astype(np.uint16))
    cmyk = Image.fromarray(noise(61, 47, 4, 9), "CMYK")
    la = Image.merge("LA", (grey, alpha))
    save = {}

    def add(name, image, **options):
        image.save(os.path.join(out, name), **options)
        save[name] = None

    add("rgb.png", rgb); add("rgba.png", rgba); add("grey.png", grey); add("la.png", la); add("bilevel.png", rgb.convert("1"))
    add("palette.png", palette); add("palette-4bit.png", rgb.quantize(11), bits=4); add("palette-transparent.png", palette, transparency=3)
    add("grey-16bit.png", deep); add("grey-transparent.png", grey, transparency=40)
    add("webp-lossless.webp", rgb, lossless=True); add("webp-lossless-alpha.webp", rgba, lossless=True)
    add("webp-lossy.webp", rgb, quality=80); add("webp-lossy-low.webp", rgb, quality=20); add("webp-lossy-alpha.webp", rgba, quality=75)
    add("rgb.gif", rgb); add("grey.gif", grey); add("transparent.gif", palette, transparency=7)
    add("animated.gif", palette, save_all=True, append_images=[smooth(61, 47, 3).quantize(40)], duration=50)
    add("rgb.bmp", rgb); add("grey.bmp", grey); add("palette.bmp", palette); add("bilevel.bmp", rgb.convert("1")); add("rgba.bmp", rgba)
    add("rgb.tif", rgb); add("rgba.tif", rgba); add("grey.tif", grey); add("bilevel.tif", rgb.convert("1")); add("palette.tif", palette)
    add("grey-16bit.tif", deep); add("cmyk.tif", cmyk); add("la.tif", la)
    add("lzw.tif", rgb, compression="tiff_lzw"); add("deflate.tif", rgb, compression="tiff_adobe_deflate"); add("packbits.tif", rgb, compression="packbits")
    for quality in (40, 90):
        for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
            for progressive in (False, True):
                add(f"{name}-q{quality}{'-progressive' if progressive else ''}.jpg", rgb, quality=quality, subsampling=subsampling, progressive=progressive)
    add("grey.jpg", grey); add("cmyk.jpg", cmyk.resize((40, 40)), quality=90); add("odd.jpg", smooth(17, 33, 4), quality=85)
    add("rotated.jpg", rgb, exif=rotated())
    raw_files(out, save)
    return {name: entry(os.path.join(out, name)) for name in sorted(save)}


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def raw_files(out, save):
    """Files that Pillow reads but does not write: 16-bit colour PNG, 16-bit BMP, a GIF frame smaller than its screen."""
    import struct
    import zlib

    def png(name, colour_type, channels, depth=16):
        width, height = 20, 13
        samples = noise(width * depth // 8, height, channels, 77).reshape(height, -1)
        rows = b"".join(b"\0" + row.tobytes() for row in samples)
        chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
        with open(os.path.join(out, name), "wb") as f:
            f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
        save[name] = None

    png("rgb-16bit.png", 2, 3); png("rgba-16bit.png", 6, 4); png("la-16bit.png", 4, 2)
    for bits in (1, 2, 4):
        width, height = 24, 9
        rows = b"".join(b"\0" + row.tobytes() for row in noise(width * bits // 8, height, 1, 3).reshape(height, -1))
        chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        name = f"grey-{bits}bit.png"
        with open(os.path.join(out, name), "wb") as f:
            head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
            f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
        save[name] = None

    pixels = noise(12, 7, 2, 21).tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, 12, 7, 1, 16, 0, len(pixels), 0, 0, 0, 0)
    with open(os.path.join(out, "rgb555.bmp"), "wb") as f:
        f.write(b"BM" + struct.pack("<IHHI", 14 + 40 + len(pixels), 0, 0, 54) + head + pixels)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    head = struct.pack("<IiiHHIIiiII", 40, 12, 7, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    with open(os.path.join(out, "rgb565.bmp"), "wb") as f:
        f.write(b"BM" + struct.pack("<IHHI", 14 + 52 + len(pixels), 0, 0, 66) + head + masks + pixels)
    save["rgb555.bmp"] = save["rgb565.bmp"] = None

    small = io.BytesIO()
    smooth(10, 8, 6).quantize(16).save(small, "GIF")
    data = bytearray(small.getvalue())
    struct.pack_into("<HH", data, 6, 16, 15)  # the screen
    at = data.index(b"\x2c", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    struct.pack_into("<HH", data, at + 1, 3, 4)  # the frame's place
    with open(os.path.join(out, "frame-inside.gif"), "wb") as f:
        f.write(data)
    save["frame-inside.gif"] = None


def entry(path):
    with Image.open(path) as image:
        mode = image.mode
        rgb = image.convert("RGB")
    return {"mode": mode, "size": rgb.size, "sha256": digest(rgb.tobytes())}


def resizes(count, seed):
    rng, cases = random.Random(seed), []
    for i in range(count):
        side = lambda: rng.choice([rng.randint(1, 12), rng.randint(8, 90), rng.randint(60, 190)])
        size, to = (side(), side()), (side(), side())
        if i % 10 == 0:
            size, to = (rng.randint(40, 70), rng.randint(90, 190)), (56, 56)  # tall: the passes change places
        if i % 17 == 0:
            to = (size[0], to[1])
        channels = 1 if i % 13 == 0 else 3
        data = noise(*size, channels, i)
        image = Image.fromarray(data[:, :, 0] if channels == 1 else data)
        for name, filter in (("bicubic", Image.BICUBIC), ("lanczos", Image.LANCZOS), ("bilinear", Image.BILINEAR)):
            if name == "bilinear" and i % 5:
                continue
            cases.append({"seed": i, "channels": channels, "size": size, "to": to, "filter": name, "sha256": digest(image.resize(to, filter).tobytes())})
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--order", choices=["pillow13", "pillow12"], default="pillow13")
    args = parser.parse_args()
    major = int(PIL.__version__.split(".")[0])
    assert (major >= 13) == (args.order == "pillow13"), f"this is Pillow {PIL.__version__}"
    os.makedirs(args.dir, exist_ok=True)
    result = {"pillow": PIL.__version__, "resizes": resizes(240, 1)}
    if args.order == "pillow13":
        result["files"] = files(args.dir)
    name = "pillow.json" if args.order == "pillow13" else "pillow12.json"
    with open(os.path.join(args.dir, name), "w") as f:
        json.dump(result, f, separators=(",", ":"))


if __name__ == "__main__":
    main()
