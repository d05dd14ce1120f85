#!/usr/bin/env python3
"""What Pillow makes of picture files and of resizing, for tests/parity/pillow.rs.

    python pillow_golden.py DIR       (Pillow 13.0.0; the committed DIR is tests/golden/pillow)

DIR gets small picture files in every format and mode that is read, odd and broken ones among them, and pillow.json: for
each file the size and the SHA-256 of `convert("RGB")`, or under `refused` the reason that Pillow gives for not reading
it; for each resize the SHA-256 of the result. Pictures to resize are drawn from a congruential generator that both sides
have, so that only digests are stored. Pillow 12 gives the older order of passes: with it, `--order pillow12` writes
pillow12.json instead.
"""
import argparse
import hashlib
import io
import json
import os
import random
import struct
import zlib

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
    for kind in (tiff_files, bmp_files, png_files, tga_files, gif_files, jpeg_files, pnm_files):
        for name, data in kind().items():
            with open(os.path.join(out, name), "wb") as f:
                f.write(data)
            save[name] = None
    return outcomes({name: os.path.join(out, name) for name in sorted(save)})


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def raw_files(out, save):
    """Files that Pillow reads but does not write: 16-bit colour PNG, 16-bit BMP, a GIF frame smaller than its screen."""
    def add_png(name, width, height, depth, kind, channels, seed):
        rows = b"".join(b"\0" + row.tobytes() for row in noise(width * depth // 8, height, channels, seed).reshape(height, -1))
        with open(os.path.join(out, name), "wb") as f:
            f.write(png((width, height, depth, kind, 0, 0, 0), (b"IDAT", zlib.compress(rows))))
        save[name] = None

    add_png("rgb-16bit.png", 20, 13, 16, 2, 3, 77); add_png("rgba-16bit.png", 20, 13, 16, 6, 4, 77); add_png("la-16bit.png", 20, 13, 16, 4, 2, 77)
    for depth in (1, 2, 4):
        add_png(f"grey-{depth}bit.png", 24, 9, depth, 0, 1, 3)

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


def saved(image, format, **options):
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def bits(samples, depth, width):
    """Rows of `depth`-bit samples, padded to bytes."""
    rows = np.unpackbits(samples.reshape(-1, width, 1).astype(">u2").view(np.uint8), axis=-1)[..., -depth:]
    return np.packbits(rows.reshape(len(rows), -1), axis=-1).tobytes()


def tiff(chunks, width, height, photometric, depths, order="<", big=False, **tags):
    """A TIFF file: `chunks` are its strips or, where tags name a tile's size, its tiles. Further tags by number (t274=6)."""
    tags = {int(tag[1:]): value for tag, value in tags.items()}
    place, sizes = (324, 325) if 322 in tags else (273, 279)
    start, spots = 16 if big else 8, []
    for chunk in chunks:
        spots.append(start)
        start += len(chunk) + len(chunk) % 2
    tags = {256: width, 257: height, 258: depths, 259: 1, 262: photometric, 277: len(depths), place: spots, sizes: [len(c) for c in chunks], **tags}
    if place == 273:
        tags.setdefault(278, height)
    word, inline = ("Q", 8) if big else ("I", 4)
    directory, extra = b"", b""
    after = start + (8 + 20 * len(tags) + 8 if big else 2 + 12 * len(tags) + 4)
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, (list, tuple, bytes)) else [value]
        kind = 7 if isinstance(value, bytes) else 4 if tag in (place, sizes) or max(values) > 65535 else 3
        data = bytes(values) if kind == 7 else struct.pack(f"{order}{len(values)}{'I' if kind == 4 else 'H'}", *values)
        directory += struct.pack(f"{order}HH{word}", tag, kind, len(values))
        if len(data) <= inline:
            directory += data.ljust(inline, b"\0")
        else:
            directory += struct.pack(order + word, after + len(extra))
            extra += data + b"\0" * (len(data) % 2)
    head = (b"II" if order == "<" else b"MM") + (struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start))
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return head + b"".join(c + b"\0" * (len(c) % 2) for c in chunks) + count + directory + b"\0" * inline + extra


def tiles(pixels, side):
    """`pixels` in tiles, the last of each row and column filled up with zeros."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % side), (0, -width % side), (0, 0)))
    return [padded[y:y + side, x:x + side].tobytes() for y in range(0, height, side) for x in range(0, width, side)]


def tiff_files():
    width, height, rgb8 = 18, 9, [8, 8, 8]
    rgb, rgba, grey = (noise(width, height, channels, 30 + channels) for channels in (3, 4, 1))
    plain = [rgb.tobytes()]
    make = lambda chunks, photometric, depths, **tags: tiff(chunks, width, height, photometric, depths, **tags)
    files = {f"oriented-{n}.tif": make(plain, 2, rgb8, t274=n) for n in range(10)}
    files["oriented-deflate.tif"] = make([zlib.compress(plain[0])], 2, rgb8, t259=8, t274=6)
    files["oriented-grey.tif"] = make([grey.tobytes()], 1, [8], t274=5)
    files["oriented-cmyk.tif"] = make([rgba.tobytes()], 5, [8] * 4, t274=7)
    files["oriented-tiles.tif"] = make(tiles(rgb, 16), 2, rgb8, t322=16, t323=16, t274=8)
    colours = [v * 257 for v in noise(48, 1, 1, 8).ravel().tolist()]
    nibbles = bits(grey >> 4, 4, width)
    files["oriented-palette.tif"] = make([nibbles], 3, [4], t320=colours, t274=6)
    files["oriented-long.tif"] = make(plain, 2, rgb8, t274=[6, 1])

    files["premultiplied.tif"] = make([rgba.tobytes()], 2, [8] * 4, t338=1)
    wide = noise(width, height, 8, 40)
    for order, name in (("<", "le"), (">", "be")):
        files[f"rgb-16bit-{name}.tif"] = make([wide[:, :, :6].tobytes()], 2, [16] * 3, order=order)
        files[f"rgba-16bit-{name}.tif"] = make([wide.tobytes()], 2, [16] * 4, order=order, t338=2)
        files[f"premultiplied-16bit-{name}.tif"] = make([wide.tobytes()], 2, [16] * 4, order=order, t338=1)
        files[f"unspecified-16bit-{name}.tif"] = make([wide.tobytes()], 2, [16] * 4, order=order, t338=0)
        files[f"grey-16bit-{name}.tif"] = make([(wide[:, :, :2] & [255, 1] if order == "<" else wide[:, :, :2] & [1, 255]).astype(np.uint8).tobytes()], 1, [16], order=order)
    files["premultiplied-16bit-deflate.tif"] = make([zlib.compress(wide.tobytes())], 2, [16] * 4, t338=1, t259=8)
    files["premultiplied-grey.tif"] = make([rgba[:, :, :2].tobytes()], 1, [8, 8], t338=1)
    files["cmyk-16bit.tif"] = make([wide.tobytes()], 5, [16] * 4)
    files["grey-16bit-white-is-zero.tif"] = make([(wide[:, :, :2] & np.uint8([255, 1])).tobytes()], 0, [16])
    files["grey-16bit-signed.tif"] = make([wide[:, :, :2].tobytes()], 1, [16], t339=2)
    files["grey-32bit.tif"] = make([np.arange(-20, 304, 2, dtype="<i4").tobytes()], 1, [32], t339=2)
    files["grey-float.tif"] = make([np.linspace(-20, 300, 162, dtype="<f4").tobytes()], 1, [32], t339=3)
    files["grey-12bit.tif"] = make([bits(grey.astype(np.uint16) * 2, 12, width)], 1, [12])

    for depth in (1, 2, 4):
        packed = bits(noise(17, height, 1, 41) >> (8 - depth), depth, 17)
        for name, photometric in (("black", 1), ("white", 0)):
            files[f"grey-{depth}bit-{name}-is-zero.tif"] = tiff([packed], 17, height, photometric, [depth])
    files["grey-4bit-deflate.tif"] = make([zlib.compress(nibbles)], 1, [4], t259=8)
    files["grey-white-is-zero.tif"] = make([grey.tobytes()], 0, [8])
    files["fill-order.tif"] = make([bits(grey >> 7, 1, width)], 1, [1], t266=2)
    for depth in (1, 2):
        files[f"palette-{depth}bit.tif"] = make([bits(grey >> (8 - depth), depth, width)], 3, [depth], t320=colours[: 3 << depth])
    files["palette-alpha.tif"] = make([rgba[:, :, :2].tobytes()], 3, [8, 8], t320=colours * 16, t338=2)
    files["lab.tif"] = make(plain, 8, rgb8)
    files["five-samples.tif"] = make([wide[:, :, :5].tobytes()], 2, [8] * 5, t338=[0, 0])

    files["strips.tif"] = make([rgb[y:y + 5].tobytes() for y in range(0, height, 5)], 2, rgb8, t278=5)
    files["tiles.tif"] = make(tiles(rgb, 16), 2, rgb8, t322=16, t323=16)
    files["tiles-grey.tif"] = tiff(tiles(noise(18, 20, 1, 42), 16), 18, 20, 1, [8], t322=16, t323=16)
    files["tiles-grey-4bit.tif"] = make([bits(np.frombuffer(tile, np.uint8) >> 4, 4, 16) for tile in tiles(grey, 16)], 1, [4], t322=16, t323=16)
    files["tiles-palette.tif"] = make(tiles(grey, 16), 3, [8], t320=colours * 16, t322=16, t323=16)
    files["tiles-deflate.tif"] = make([zlib.compress(tile) for tile in tiles(rgb, 16)], 2, rgb8, t259=8, t322=16, t323=16)
    planes = [rgb[:, :, channel].tobytes() for channel in range(3)]
    files["planes.tif"] = make(planes, 2, rgb8, t284=2)
    files["planes-deflate.tif"] = make([zlib.compress(plane) for plane in planes], 2, rgb8, t259=8, t284=2)
    files["planes-tiles.tif"] = make([tile for c in range(3) for tile in tiles(rgb[:, :, c:c + 1], 16)], 2, rgb8, t284=2, t322=16, t323=16)
    files["predictor.tif"] = make([zlib.compress(np.diff(rgb, axis=1, prepend=np.uint8(0)).tobytes())], 2, rgb8, t259=8, t317=2)
    files["group4.tif"] = saved(Image.fromarray(grey[:, :, 0]).convert("1"), "TIFF", compression="group4")
    files["group3.tif"] = saved(Image.fromarray(grey[:, :, 0]).convert("1"), "TIFF", compression="group3")
    for order, name in (("<", "le"), (">", "be")):
        files[f"big-{name}.tif"] = make(plain, 2, rgb8, order=order, big=True)
    files["big-palette.tif"] = make([nibbles], 3, [4], t320=colours, big=True, t274=3)
    files["big-tiles.tif"] = make(tiles(rgb, 16), 2, rgb8, big=True, t322=16, t323=16)

    files["ycbcr.tif"] = make(plain, 6, rgb8, t530=[1, 1])
    files["ycbcr-deflate.tif"] = make([zlib.compress(plain[0])], 6, rgb8, t259=8, t530=[1, 1])
    halves = noise(9, 5, 6, 50).tobytes()
    files["ycbcr-halved.tif"] = make([halves], 6, rgb8, t530=[2, 2])
    files["ycbcr-halved-deflate.tif"] = make([zlib.compress(halves)], 6, rgb8, t259=8, t530=[2, 2])
    photo = smooth(width, height, 5)
    for name, subsampling, factors in (("444", 0, [1, 1]), ("420", 2, [2, 2])):
        files[f"ycbcr-jpeg-{name}.tif"] = make([saved(photo, "JPEG", quality=80, subsampling=subsampling)], 6, rgb8, t259=7, t530=factors)
    files["ycbcr-jpeg-tables.tif"] = saved(photo.convert("YCbCr"), "TIFF", compression="jpeg", quality=80)
    files["rgb-jpeg.tif"] = saved(photo, "TIFF", compression="jpeg", quality=80)
    files["grey-jpeg.tif"] = saved(photo.convert("L"), "TIFF", compression="jpeg", quality=80)
    files["ycbcr-jpeg-oriented.tif"] = make([saved(photo, "JPEG", quality=80)], 6, rgb8, t259=7, t530=[2, 2], t274=6)

    files["cut-off.tif"] = make(plain, 2, rgb8, t273=300)  # beyond the end
    files["cut-off-deflate.tif"] = make([zlib.compress(plain[0])[:200]], 2, rgb8, t259=8)
    files["huge.tif"] = tiff([b"\0" * 8], 60000, 60000, 2, rgb8)
    files["no-photometric.tif"] = make([grey.tobytes()], 1, [8]).replace(struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 263, 3, 1, 1, 0))
    return files


def bmp(width, height, depth, compression, data, colours=(), size=40, more=b"", gap=b""):
    head = struct.pack("<IiiHHIIiiII", size, width, height, 1, depth, compression, len(data), 0, 0, len(colours), 0)
    head += more + b"".join(bytes([b, g, r, 0]) for r, g, b in colours) + gap
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data


def bmp_files():
    colours = noise(16, 1, 3, 60)[0].tolist()
    width, height, end = 11, 6, b"\0\1"
    row = lambda value, count: bytes([count, value])
    full8 = b"".join(row(y + 1, 5) + row(y + 2, 6) + b"\0\0" for y in range(height))
    full4 = b"".join(row(0x12 + y, 11) + b"\0\0" for y in range(height))
    # Runs, then each way of leaving pixels out: the end of a row or of the picture, and jumps.
    eight = {
        "full": full8 + end,
        "no-end": full8,
        "absolute": b"\0\x05\1\2\3\4\5\0" + row(6, 6) + b"\0\0" + b"\0\x04\6\7\x08\x09" + row(3, 7) + b"\0\0" + full8[:24] + end,
        "early-row-end": row(1, 4) + b"\0\0" + row(2, 11) + b"\0\0" + row(3, 2) + b"\0\0" + full8[:18] + end,
        "empty-row": row(1, 4) + b"\0\0\0\0" + full8[:24] + end,
        "empty-rows": row(1, 4) + b"\0\0\0\0" + full8[:30] + end,
        "early-end": row(1, 11) + b"\0\0" + row(2, 6) + end,
        "jump": row(1, 3) + b"\0\2\4\0" + row(2, 2) + b"\0\0" + row(3, 4) + b"\0\2\3\2" + row(4, 2) + b"\0\0" + full8[:12] + end,
        "jump-down": row(1, 3) + b"\0\2\0\1" + row(2, 2) + b"\0\2\0\3" + row(3, 4) + b"\0\0" + full8[:6] + end,
        "jump-wide": row(1, 9) + b"\0\2\5\0" + row(2, 2) + b"\0\0" + full8[:24] + end,
        "jump-out": row(1, 3) + b"\0\2\xff\xff" + row(2, 5) + end,
        "long-run": row(1, 14) + row(2, 3) + b"\0\0" + row(3, 11) + row(4, 11) + b"\0\0" + full8[:24] + end,
        "no-row-ends": b"".join(row(y + 1, 11) for y in range(height)) + end,
        "long-absolute": b"\0\x0d" + bytes(range(1, 14)) + b"\0" + row(2, 11) + b"\0\0" + full8[:24] + end,
        "cut-off": full8[:20],
        "cut-off-absolute": full8[:18] + b"\0\x08\1\2",
        "empty": b"",
        "odd-end": row(1, 11) + b"\0\0" + b"\0",
    }
    four = {
        "full": full4 + end,
        "absolute": b"\0\x05\x12\x34\x50\0" + row(0x67, 6) + b"\0\0" + b"\0\x08\x12\x34\x56\x78" + row(0x9a, 3) + b"\0\0" + b"\0\0" + full4[:16] + end,
        "early-row-end": row(0x12, 4) + b"\0\0" + row(0x34, 5) + b"\0\0" + full4[:16] + end,
        "early-end": row(0x12, 11) + b"\0\0" + row(0x34, 7) + end,
        "jump": row(0x12, 3) + b"\0\2\4\0" + row(0x34, 2) + b"\0\0" + row(0x56, 4) + b"\0\2\3\2" + row(0x78, 2) + b"\0\0" + full4[:8] + end,
        "long-run": row(0x12, 14) + b"\0\0" + full4[:20] + end,
    }
    files = {f"rle8-{name}.bmp": bmp(width, height, 8, 1, data, colours) for name, data in eight.items()}
    files |= {f"rle4-{name}.bmp": bmp(width, height, 4, 2, data, colours) for name, data in four.items()}
    files["rle8-odd-place.bmp"] = bmp(width, height, 8, 1, eight["absolute"], colours, gap=b"\0")
    files["rle8-grey.bmp"] = bmp(width, height, 8, 1, eight["jump"], [(v, v, v) for v in range(16)])
    files["rle8-few-colours.bmp"] = bmp(width, height, 8, 1, eight["jump"], colours[:3])
    files["rle8-top-down.bmp"] = bmp(width, -height, 8, 1, eight["jump"], colours)
    files["huge.bmp"] = bmp(60000, 60000, 24, 0, b"\0" * 8)
    files["huge-rle8.bmp"] = bmp(13000, 13000, 8, 1, end, colours)
    wide = noise(width, height, 4, 61).tobytes()
    masks = lambda *values: struct.pack(f"<{len(values)}I", *values)
    files["top-down.bmp"] = bmp(width, -height, 32, 0, wide)
    files["bgra.bmp"] = bmp(width, height, 32, 3, wide, size=56, more=masks(0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    files["rgba-masks.bmp"] = bmp(width, height, 32, 3, wide, size=56, more=masks(0xFF, 0xFF00, 0xFF0000, 0xFF000000))
    files["xbgr-masks.bmp"] = bmp(width, height, 32, 3, wide, more=masks(0xFF000000, 0xFF0000, 0xFF00))
    files["odd-masks.bmp"] = bmp(width, height, 32, 3, wide, more=masks(0x3FF00000, 0xFFC00, 0x3FF))
    files["no-masks.bmp"] = bmp(width, height, 32, 3, wide, size=56, more=masks(0, 0, 0, 0))
    files["few-colours.bmp"] = bmp(8, 3, 4, 0, noise(4, 3, 1, 62).tobytes(), colours[:5])
    core = struct.pack("<IHHHH", 12, 12, 3, 1, 4) + b"".join(bytes(c[::-1]) for c in colours) + noise(8, 3, 1, 63).tobytes()
    files["core.bmp"] = b"BM" + struct.pack("<IHHI", 14 + len(core), 0, 0, 26 + 48) + core
    files["cut-off.bmp"] = bmp(width, height, 32, 0, wide[:100])
    return files


def png(head, *chunks, end=True, bad=None):
    """A PNG file; the chunk of kind `bad` gets a wrong checksum."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ (kind == bad))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *head)), *chunks] + [(b"IEND", b"")] * end
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def png_files():
    width, height = 17, 9
    scan = lambda channels, depth, seed: b"".join(b"\0" + row.tobytes() for row in noise(-(-width * channels * depth // 8), height, 1, seed)[:, :, 0])
    head = lambda depth, kind, interlaced=0: (width, height, depth, kind, 0, 0, interlaced)
    rgb, packed = scan(3, 8, 70), zlib.compress(scan(3, 8, 70))
    data, text, true = (b"IDAT", packed), (b"tEXt", b"Title\0a"), head(8, 2)
    palette = (b"PLTE", noise(16, 1, 3, 71).tobytes())
    four = (b"IDAT", zlib.compress(scan(1, 4, 72)))
    files = {
        "no-end": png(true, data, end=False),
        "no-end-text": png(true, data, text, end=False),
        "wrong-checksum-head": png(true, data, bad=b"IHDR"),
        "wrong-checksum-data": png(true, data, bad=b"IDAT"),
        "wrong-checksum-end": png(true, data, bad=b"IEND"),
        "wrong-checksum-text-before": png(true, text, data, bad=b"tEXt"),
        "wrong-checksum-text-after": png(true, data, text, bad=b"tEXt"),
        "wrong-checksum-palette": png(head(4, 3), palette, four, bad=b"PLTE"),
        "wrong-checksum-transparency": png(head(4, 3), palette, (b"tRNS", b"\0"), four, bad=b"tRNS"),
        "wrong-adler": png(true, (b"IDAT", packed[:-1] + bytes([packed[-1] ^ 1]))),
        "no-adler": png(true, (b"IDAT", packed[:-4])),
        "wrong-last-checksum-cut": png(true, data, end=False)[:-4],
        "many-data": png(true, *[(b"IDAT", packed[i:i + 50]) for i in range(0, len(packed), 50)], (b"IDAT", b"")),
        "split-data": png(true, (b"IDAT", packed[:90]), text, (b"IDAT", packed[90:])),
        "cut-off": png(true, data)[:300],
        "short-data": png(true, (b"IDAT", zlib.compress(rgb[:-60]))),
        "long-data": png(true, (b"IDAT", zlib.compress(rgb + b"\0" * 40))),
        "after-end": png(true, data) + b"more",
        "broken-data": png(true, (b"IDAT", packed[:40] + b"\xff" * 20 + packed[60:])),
        "bad-filter": png(true, (b"IDAT", zlib.compress(b"\7" + rgb[1:]))),
        "unknown-before": png(true, (b"quUx", b"1"), data),
        "unknown-critical": png(true, (b"QUUX", b"1"), data),
        "bad-name": png(true, (b"qu-x", b"1"), data),
        "no-data": png(true),
        "no-palette": png(head(4, 3), four),
        "palette-short": png(head(4, 3), (b"PLTE", palette[1][:15]), four),
        "palette-4bit-transparent": png(head(4, 3), palette, (b"tRNS", b"\x80\0\x40"), four),
        "palette-1bit": png(head(1, 3), (b"PLTE", palette[1][:6]), (b"IDAT", zlib.compress(scan(1, 1, 73)))),
        "palette-2bit": png(head(2, 3), (b"PLTE", palette[1][:12]), (b"IDAT", zlib.compress(scan(1, 2, 74)))),
        "grey-1bit-transparent": png(head(1, 0), (b"tRNS", b"\0\1"), (b"IDAT", zlib.compress(scan(1, 1, 75)))),
        "grey-4bit-transparent": png(head(4, 0), (b"tRNS", b"\0\3"), (b"IDAT", zlib.compress(scan(1, 4, 76)))),
        "grey-16bit-transparent": png(head(16, 0), (b"tRNS", b"\0\3"), (b"IDAT", zlib.compress(scan(1, 16, 77)))),
        "rgb-transparent": png(true, (b"tRNS", b"\0\1\0\2\0\3"), data),
        "rgb-16bit-transparent": png(head(16, 2), (b"tRNS", b"\0\1\0\2\0\3"), (b"IDAT", zlib.compress(scan(3, 16, 78)))),
        "bad-depth": png(head(4, 2), data),
        "huge": png((60000, 60000, 8, 2, 0, 0, 0), data),
        "large": png((13000, 13000, 16, 6, 0, 0, 0), data),
    }
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    for name, depth, kind, channels in (("rgb", 8, 2, 3), ("grey-4bit", 4, 0, 1)):
        pixels, rows = noise(width, height, channels, 79), b""
        for x, y, right, down in passes:
            part = pixels[y::down, x::right]
            if part.size:
                rows += b"".join(b"\0" + (row.tobytes() if depth == 8 else bits(row >> 4, 4, len(row))) for row in part)
        files[f"interlaced-{name}"] = png(head(depth, kind, 1), (b"IDAT", zlib.compress(rows)))
    control = lambda number, w, h, x, y: (b"fcTL", struct.pack(">IIIIIHHBB", number, w, h, x, y, 1, 10, 0, 0))
    later = (b"fdAT", struct.pack(">I", 2) + zlib.compress(scan(3, 8, 80)))
    animation = (b"acTL", struct.pack(">II", 2, 0))
    files["animated"] = png(true, animation, control(0, width, height, 0, 0), data, control(1, width, height, 0, 0), later)
    small = (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise(5, 4, 3, 81))))
    files["animated-small"] = png(true, animation, control(0, 5, 4, 2, 3), small, control(1, width, height, 0, 0), later)
    return {f"{name}.png": data for name, data in files.items()}


def tga_files():
    width, height, files = 9, 7, {}

    def make(name, kind, depth, data, flags=0, colours=b"", map_depth=0):
        count = len(colours) * 8 // map_depth if map_depth else 0
        head = struct.pack("<BBBHHBHHHHBB", 0, bool(colours), kind, 0, count, map_depth, 0, 0, width, height, depth, flags)
        files[name + ".tga"] = head + colours + data

    runs = lambda pixels: b"".join(b"\x84" + bytes(row[0]) + b"\x03" + row[5:].tobytes() for row in pixels)
    for name, kind, channels in (("rgb", 2, 3), ("rgba", 2, 4), ("grey", 3, 1)):
        pixels = noise(width, height, channels, 90 + channels)
        make(name, kind, 8 * channels, pixels.tobytes(), 0x20)
        make(f"{name}-bottom-up", kind, 8 * channels, pixels.tobytes())
        make(f"{name}-rle", kind + 8, 8 * channels, runs(pixels), 0x20)
    make("right-to-left", 2, 24, noise(width, height, 3, 95).tobytes(), 0x30)
    make("palette", 1, 8, (noise(width, height, 1, 96) >> 4).tobytes(), 0x20, noise(16, 1, 3, 97).tobytes(), 24)
    make("rgb-15bit", 2, 16, noise(width, height, 2, 98).tobytes(), 0x20)
    return files


def gif_files():
    def moved(left, top, screen=(10, 8), size=(10, 8), **options):
        data = bytearray(saved(smooth(*size, 6).quantize(16), "GIF", **options))
        struct.pack_into("<HH", data, 6, *screen)
        struct.pack_into("<HH", data, data.index(b"\x2c", 13 + 3 * 2 ** ((data[10] & 7) + 1)) + 1, left, top)
        return bytes(data)

    plain = moved(0, 0)
    table = 3 * 2 ** ((plain[10] & 7) + 1)
    return {
        "frame-beyond.gif": moved(4, 3),
        "frame-far.gif": moved(65530, 0, size=(10, 1)),
        "frame-far-down.gif": moved(0, 65533, size=(1, 8)),
        "frame-huge.gif": moved(65530, 65530),
        "interlaced.gif": moved(0, 0, interlace=1),
        "no-screen.gif": moved(0, 0, screen=(0, 0)),
        "no-palette.gif": plain[:10] + bytes([plain[10] & 0x7F]) + plain[11:13] + plain[13 + table:],
        "short-palette.gif": plain[:10] + bytes([plain[10] & 0xF8]) + plain[11:19] + plain[13 + table:],
        "no-end.gif": plain[:-1],
        "cut-off.gif": plain[:-20],
        "no-frame.gif": plain[:13 + table] + b";",
    }


def jpeg_files():
    whole = saved(smooth(24, 16, 7), "JPEG", quality=60)
    size = whole.index(b"\xff\xc0") + 5
    exif = Image.Exif()
    exif[0x0112] = 8
    rotated = smooth(9, 7, 8)
    return {
        "no-end.jpg": whole[:-2],
        "cut-off.jpg": whole[:-60],
        "after-end.jpg": whole + b"more",
        "too-high.jpg": whole[:size] + struct.pack(">HH", 40, 24) + whole[size + 4:],
        "huge.jpg": whole[:size] + struct.pack(">HH", 60000, 60000) + whole[size + 4:],
        "rotated.png": saved(rotated, "PNG", exif=exif),
        "rotated.webp": saved(rotated, "WEBP", exif=exif, lossless=True),
        "cut-off.webp": saved(rotated, "WEBP", lossless=True)[:-40],
    }


def pnm_files():
    grey, wide = noise(9, 5, 1, 100), noise(9, 5, 6, 101)
    text = lambda values, top: " ".join(str(v % (top + 1)) for v in values.ravel().tolist()).encode()
    return {
        "rgb.ppm": b"P6 9 5 255\n" + wide[:, :, :3].tobytes(),
        "rgb-100.ppm": b"P6\n# a comment\n9 5\n100\n" + (wide[:, :, :3] % 101).tobytes(),
        "rgb-too-high.ppm": b"P6 9 5 100\n" + wide[:, :, :3].tobytes(),
        "rgb-16bit.ppm": b"P6 9 5 65535\n" + wide.tobytes(),
        "rgb-1000.ppm": b"P6 9 5 1000\n" + (wide & np.uint8([3, 231] * 3)).tobytes(),
        "plain.ppm": b"P3 9 5 255\n" + text(wide[:, :, :3], 255),
        "plain-100.ppm": b"P3 9 5 100\n" + text(wide[:, :, :3], 100) + b"\n",
        "plain-comment.ppm": b"P3 9 5 255\n# a comment\n" + text(wide[:, :, :3], 255),
        "grey.pgm": b"P5 9 5 255\n" + grey.tobytes(),
        "grey-7.pgm": b"P5 9 5 7\n" + (grey % 8).tobytes(),
        "grey-16bit.pgm": b"P5 9 5 65535\n" + (wide[:, :, :2] & np.uint8([1, 255])).tobytes(),
        "grey-1000.pgm": b"P5 9 5 1000\n" + (wide[:, :, :2] & np.uint8([0, 7])).tobytes(),
        "plain.pgm": b"P2 9 5 9\n" + text(grey, 9),
        "bilevel.pbm": b"P4 9 5\n" + noise(2, 5, 1, 102).tobytes(),
        "plain.pbm": b"P1 9 5\n" + text(grey, 1),
        "plain-joined.pbm": b"P1 9 5\n" + text(grey, 1).replace(b" ", b""),
        "cut-off.ppm": b"P6 9 5 255\n" + wide[:, :, :3].tobytes()[:-5],
        "large.ppm": b"P6 13000 13000 255\n" + bytes(20),
        "rgb.pam": b"P7\nWIDTH 9\nHEIGHT 5\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + wide[:, :, :3].tobytes(),
        "float.pfm": b"Pf 9 5 -1.0\n" + np.linspace(-20, 300, 45, dtype="<f4").tobytes(),
    }


def outcomes(paths):
    """What Pillow makes of each file, and why it refuses those that it does not read."""
    result = {"files": {}, "refused": {}}
    for name, path in paths.items():
        try:
            result["files"][name] = entry(path)
        except Exception as error:
            result["refused"][name] = f"{type(error).__name__}: {error}".replace(repr(path), "it")
    return result


def entry(path):
    # From bytes, as data sets hold them: of a path, Pillow 13 maps uncompressed TIFFs and forgets to turn them.
    with open(path, "rb") as f, Image.open(io.BytesIO(f.read())) as image:
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
        result |= files(args.dir)
    name = "pillow.json" if args.order == "pillow13" else "pillow12.json"
    with open(os.path.join(args.dir, name), "w") as f:
        json.dump(result, f, separators=(",", ":"))


if __name__ == "__main__":
    main()
