"""A headless Chromium for pages that lie in files: pictures as arrays, what the page knows of itself, print.

Exits 77 where there is no Chromium: the test is skipped then."""
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    print("skipped: no chromium here (tools/setup.sh test)")
    sys.exit(77)


def chromium(*arguments):
    profile = os.path.abspath("chromium-profile")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
               "--no-first-run", "--disable-extensions", "--disable-background-networking",
               "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, errors="replace",
                          env=dict(os.environ, HOME=os.getcwd()))
    if done.returncode != 0:
        raise RuntimeError(f"chromium: exit {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def url(path):
    return "file://" + os.path.abspath(path)


def read_png(path):
    """height x width x 3 bytes of a PNG of 8 bits without interlacing, as Chromium writes it."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG"
    at, parts = 8, []
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and colour in (2, 6) and interlace == 0
        elif kind == b"IDAT":
            parts.append(body)
        at += 12 + n
    channels = 4 if colour == 6 else 3
    raw = np.frombuffer(zlib.decompress(b"".join(parts)), np.uint8).reshape(height, 1 + width * channels)
    out = np.zeros((height, width * channels), np.uint8)
    for y in range(height):
        kind, line = raw[y, 0], raw[y, 1:]
        above = out[y - 1] if y else np.zeros_like(line)
        if kind == 0:
            out[y] = line
        elif kind == 2:
            out[y] = line + above
        elif kind == 1:
            out[y] = np.cumsum(line.reshape(width, channels), 0, dtype=np.uint8).ravel()
        else:
            left = [0] * channels
            corner = [0] * channels
            row = line.tolist()
            up = above.tolist()
            for i, value in enumerate(row):
                c = i % channels
                if kind == 3:
                    value += (left[c] + up[i]) // 2
                else:
                    p = left[c] + up[i] - corner[c]
                    near = [abs(p - left[c]), abs(p - up[i]), abs(p - corner[c])]
                    value += (left[c], up[i], corner[c])[near.index(min(near))]
                row[i] = left[c] = value & 255
                corner[c] = up[i]
            out[y] = row
    return out.reshape(height, width, channels)[:, :, :3]


def picture(page, width, height, dark=False):
    shot = f"{os.path.basename(page)}-{'dark' if dark else 'light'}-{width}.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    chromium(f"--window-size={width},{height}", f"--screenshot={os.path.abspath(shot)}", *scheme, url(page))
    return read_png(shot)


def share_of(image, colour):
    """Part of the pixels that have this '#rrggbb'."""
    want = np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)], np.uint8)
    return float((image == want).all(2).mean())


def overhangs(pages, widths):
    """For each page and width how many pixels something sticks out of it, measured in frames of these widths."""
    frames = []
    for page in pages:
        with open(page, encoding="utf-8") as f:
            text = f.read().replace("&", "&amp;").replace('"', "&quot;")
        frames += [f'<iframe width="{w}" height="600" srcdoc="{text}"></iframe>' for w in widths]
    script = """<script>addEventListener('load', () => { const found = [];
for (const frame of document.querySelectorAll('iframe')) { const d = frame.contentDocument, w = d.documentElement.clientWidth;
let most = d.documentElement.scrollWidth - w;
for (const e of d.querySelectorAll('svg text, td, th, p, h1, li')) if (!e.closest('.wide') && !e.closest('details:not([open])'))
most = Math.max(most, e.getBoundingClientRect().right - w, -e.getBoundingClientRect().left);
found.push(w + ':' + Math.ceil(most)); }
document.body.setAttribute('data-found', found.join(' ')); });</script>"""
    with open("frames.html", "w", encoding="utf-8") as f:
        f.write(f"<!DOCTYPE html><meta charset='utf-8'><body>{script}{''.join(frames)}</body>")
    dom = chromium("--dump-dom", url("frames.html"))
    found = re.search(r'data-found="([^"]*)"', dom)
    assert found, "the check did not run"
    pairs = [tuple(map(int, one.split(":"))) for one in found.group(1).split()]
    assert [p[0] for p in pairs] == list(widths) * len(pages), f"frames are {pairs}"
    return [[p[1] for p in pairs[i:i + len(widths)]] for i in range(0, len(pairs), len(widths))]


def print_pages(page):
    """Pages that printing it fills."""
    chromium("--no-pdf-header-footer", f"--print-to-pdf={os.path.abspath('print.pdf')}", url(page))
    with open("print.pdf", "rb") as f:
        data = f.read()
    assert data.startswith(b"%PDF"), "no PDF"
    return max(len(re.findall(rb"/Type\s*/Page\b", data)), 0)
