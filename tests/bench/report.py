#!/usr/bin/env python3
"""A report as a browser sees it; run it by `make parity`.

    python3 tests/bench/report.py                     the mini suite's report, and one of two runs
    python3 tests/bench/report.py FILE.html...        some reports that are there

An HTML5 parser must accept it without an error; nothing may be fetched; ids, headers of tables, figures and colours are
held to what accessibility asks for. Where Chromium is at hand (or named by CHROMIUM) it is also drawn light, dark, on
paper and 400 pixels wide: the script must run under the page's own policy, sort, and nothing may stick out.
"""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape

import html5lib

LARGEST = 2 << 20
LEAST_CONTRAST = 4.5
NARROW = 400
TASKS = "mini-groups,mini-zero-shot,mini-retrieval,mini-things-knn,mini-things-few-shot"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
failures = []


def check(what, good, told=""):
    if not good:
        failures.append(what)
    print(f"  {what:46} {'ok' if good else 'WRONG'}{f'  {told}' if told else ''}")


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def check_colours(style):
    sets = [dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", block)) for block in re.findall(r":root\{([^}]*)\}", style)]
    check("a light and a dark set of colours", len(sets) == 2 and sets[0].keys() == sets[1].keys())
    for name, colours in zip(("light", "dark"), sets):
        over = [(contrast(colours[ink], colours[ground]), ink, ground)
                for ink in colours if ink not in ("bg", "soft", "line") for ground in ("bg", "soft")]
        check(f"contrast, {name}", min(over)[0] >= LEAST_CONTRAST, f"least {min(over)[0]:.1f}: {min(over)[1]} on {min(over)[2]}")


def check_policy(tree, text):
    policy = next(meta.get("content") for meta in tree.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    script = next(script.text for script in tree.iter("script") if script.get("type") is None)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    check("the policy names the script", f"'sha256-{digest}'" in policy and "default-src 'none'" in policy)
    check("one small script", len(script) <= 3 << 10 and len(re.findall(r"<script(?! type=)", text)) == 1, f"{len(script)} bytes")


def check_tree(tree):
    every = list(tree.iter())
    sources = [element.get("src") for element in every if element.get("src")]
    links = [element.get("href") for element in every if element.get("href")]
    check("nothing is fetched", all(source.startswith("data:image/") for source in sources)
          and all(link.startswith(("#", "https://")) for link in links) and not list(tree.iter("link")))
    check("each image once, with a text", len(sources) == len(set(sources)) and all(image.get("alt") for image in tree.iter("img")))
    ids = [element.get("id") for element in every if element.get("id")]
    check("ids are unique", len(ids) == len(set(ids)), f"{len(ids)}")
    known = set(ids)
    named = [name for element in every for name in (element.get("aria-labelledby") or "").split()]
    named += [link[1:] for link in links if link.startswith("#")]
    check("what is referred to is there", all(name in known for name in named))
    check("headers have a scope", all(head.get("scope") in ("col", "row") for head in tree.iter("th")))
    check("tables have a caption", all(table.find("caption") is not None for table in tree.iter("table")))
    figures = list(tree.iter("figure"))
    whole = [figure for figure in figures if figure.find("figcaption") is not None and list(figure.iter("table"))]
    check("figures have a caption and their values", len(whole) == len(figures), f"{len(figures)}")
    drawn = [svg for svg in tree.iter("{http://www.w3.org/2000/svg}svg") if svg.get("aria-hidden") is None]
    names = ("{http://www.w3.org/2000/svg}title", "{http://www.w3.org/2000/svg}desc")
    check("drawings name and describe themselves", all(svg.get("role") == "img" and all(svg.find(name) is not None for name in names) for svg in drawn))
    bare = [svg for figure in figures for svg in figure.iter("{http://www.w3.org/2000/svg}svg") if "NaN" in html5lib.serialize(svg)]
    check("no coordinate is missing", not bare)
    levels = [int(element.tag[1]) for element in every if re.fullmatch("h[1-6]", str(element.tag))]
    check("no level of headings is left out", levels[:1] == [1] and all(b <= a + 1 for a, b in zip(levels, levels[1:])))


def check_file(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    print(f"{os.path.basename(path)}, {len(text.encode()) / 1000:.0f} kB:")
    check("size", len(text.encode()) < LARGEST)
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    try:
        tree = parser.parse(text)
        check("an HTML5 parser takes it", True)
    except html5lib.html5parser.ParseError as error:
        check("an HTML5 parser takes it", False, f"{error} at {parser.tokenizer.stream.position()}")
        return
    check_tree(tree)
    check_policy(tree, text)
    check_colours(next(tree.iter("style")).text)
    records = [script.text for script in tree.iter("script") if script.get("type") == "application/json"]
    check("the records are JSON", all(isinstance(json.loads(record)["records"], list) for record in records))
    if BROWSER:
        check_drawn(path, text)


def browse(folder, *arguments):
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/browser", *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=300).stdout.decode()


# Clicks the head of the first table that can be sorted, and tells what came of it and how wide the page is.
PROBE = """<script>addEventListener("load", () => {
  const page = document.getElementById("page").contentDocument;
  const button = page.querySelector("table.sort th:nth-child(3) button");
  const cells = () => [...page.querySelector("table.sort").tBodies[0].rows].map((row) => parseFloat(row.cells[2].textContent));
  let sorted = true;
  if (button) {
    button.click();
    const values = cells().filter((value) => !Number.isNaN(value));
    sorted = values.every((value, index) => index === 0 || values[index - 1] <= value)
      && page.querySelectorAll("[aria-sort]").length === 1;
  }
  const root = page.documentElement;
  document.getElementById("told").textContent = JSON.stringify({ wide: root.scrollWidth, sorted });
});</script>"""


def check_drawn(path, text):
    url = f"file://{os.path.abspath(path)}"
    kept = os.environ.get("KEEP")
    with tempfile.TemporaryDirectory() as tmp:
        dom = browse(tmp, "--dump-dom", url)
        sortable = 'class="sort"' in text
        check("the script runs under the policy", '<button type="button">' in dom or not sortable)
        inside = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        frame = f'<!DOCTYPE html><iframe id="page" width="{NARROW}" height="2000" style="border:0" srcdoc="{escape(inside)}"></iframe><p id="told"></p>{PROBE}'
        narrow = os.path.join(tmp, "narrow.html")
        with open(narrow, "w", encoding="utf-8") as f:
            f.write(frame)
        told = re.search(r'<p id="told">(\{.*?\})</p>', browse(tmp, "--dump-dom", f"file://{narrow}"))
        told = json.loads(told.group(1)) if told else {}
        check(f"nothing sticks out at {NARROW} px", told.get("wide") == NARROW, f"{told.get('wide')} px")
        check("a click sorts", told.get("sorted") is True)
        paper = os.path.join(tmp, "paper.pdf")
        browse(tmp, "--no-pdf-header-footer", f"--print-to-pdf={paper}", url)
        if shutil.which("pdftotext"):
            words = subprocess.run(["pdftotext", paper, "-"], check=True, capture_output=True).stdout.decode()
            words = " ".join(words.split())
            caption = re.findall(r"<details><summary>values</summary>.*?<caption>([^<&]*)</caption>", text)
            check("what is closed is printed", all(name[:20] in words for name in caption[:3]))
        pictures = {"light": (0, url), "dark": (1, url), "narrow": (0, f"file://{narrow}")}
        for name, (_, page) in pictures.items() if kept else ():
            picture = os.path.join(kept, f"{os.path.basename(path)[:-5]}-{name}.png")
            dark = ["--blink-settings=preferredColorScheme=0"] if name == "dark" else []
            browse(tmp, "--window-size=1100,4000", f"--screenshot={picture}", *dark, page)
        if kept:
            shutil.copy(paper, os.path.join(kept, f"{os.path.basename(path)[:-5]}.pdf"))


def made(tmp):
    """A report of a run, and one of two that differ in how they compute."""
    program = os.path.join(ROOT, "target/release/flava-eval")
    runs = [os.path.join(tmp, name) for name in ("first", "second")]
    for precision, run in zip(("f32", "bf16"), runs):
        subprocess.run([program, "--tasks", TASKS, "--precision", precision, "--device", "cpu", "--quiet", "--out", run],
                       check=True, stdout=subprocess.DEVNULL)
    for name, of in (("one", runs[:1]), ("two", runs)):
        path = os.path.join(tmp, f"{name}.html")
        subprocess.run([program, "report", *of, "--out", path], check=True, stdout=subprocess.DEVNULL)
        yield path


def main():
    if not BROWSER:
        print("no Chromium here: what needs one is not checked")
    with tempfile.TemporaryDirectory() as tmp:
        for path in sys.argv[1:] or made(tmp):
            check_file(path)
    if failures:
        sys.exit(f"{len(failures)} checks failed")


if __name__ == "__main__":
    main()
