"""What every page that ranktape writes holds to: well formed, alone in the world, no script, tables and words beside pictures."""
import re
import xml.etree.ElementTree as tree

from ranktape_cli import check

ELEMENTS = set("""html head meta title style body main h1 h2 h3 p section figure figcaption ul li code table caption thead tbody
tr th td details summary div svg g rect line circle text desc defs pattern span path""".split())
ATTRIBUTES = set("""lang charset name content class id scope colspan width height style aria-hidden aria-label aria-labelledby role
fill x y dx dy x1 x2 y1 y2 cx cy r opacity transform patternUnits patternTransform text-anchor d""".split())


def read(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    check(not re.search(r"https?:|//[a-z]|url\((?!#)|@import|javascript:", text.split("</style>")[0]), f"{path}: style names a URL")
    root = tree.fromstring(text.replace("<!DOCTYPE html>", "", 1))
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    check(len(set(ids)) == len(ids), f"{path}: an id occurs twice: {ids}")
    for e in root.iter():
        check(e.tag in ELEMENTS, f"{path}: <{e.tag}>")
        for name, value in e.attrib.items():
            check(name in ATTRIBUTES, f"{path}: {name} in <{e.tag}>")
            check(not re.search(r"url\((?!#)|javascript:", value), f"{path}: {name}={value}")
            for used in re.findall(r"url\(#([^)]*)\)", value):
                check(used in ids, f"{path}: fill #{used} is nowhere")
        for named in (e.get("aria-labelledby") or "").split():
            check(named in ids, f"{path}: no #{named}")
        if e.tag == "svg":
            check(e.get("aria-hidden") == "true" or e.get("aria-label") or
                  (e.find("title") is not None and e.find("desc") is not None), f"{path}: a picture without words")
    return root


def words(element):
    return " ".join("".join(element.itertext()).split())


def rows(root, first):
    """Cells of the rows of the table whose first heading is this."""
    for table in root.iter("table"):
        if words(table.find("thead/tr/th")) == first:
            return [[words(cell) for cell in row] for row in table.find("tbody")]
    return []
