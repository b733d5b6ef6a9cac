"""Check the pages that Sphinx made: ``python docs/check_site.py docs/_build``.

No link leads nowhere, be it to a page, a file or an anchor; every page is reached from the first;
and no table is torn: its rows have as many cells as its head, and none begins with an empty cell.
"""

import sys
from collections import deque
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

SPECIAL = {"genindex.html", "search.html", "py-modindex.html"}  # reached by the theme's own links


def read(folder):
    """Return the parsed pages by their paths, without the sources that Sphinx copies."""
    return {
        path.resolve(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in sorted(folder.rglob("*.html"))
        if not {"_static", "_sources", "_downloads"} & set(path.relative_to(folder).parts)
    }


def targets(path, page):
    """Yield each link of a page that stays in the site, as the path and the anchor it leads to."""
    for tag in page.find_all(["a", "img", "link", "script"]):
        link = urlsplit(tag.get("href") or tag.get("src") or "")
        if link.scheme or link.netloc or not (link.path or link.fragment):
            continue
        target = (path.parent / unquote(link.path)).resolve() if link.path else path
        yield target, unquote(link.fragment)


def dead_links(pages):
    """Yield what is wrong with the links of all pages."""
    anchors = {
        path: {tag["id"] for tag in page.find_all(id=True)}
        | {tag["name"] for tag in page.find_all("a", attrs={"name": True})}
        for path, page in pages.items()
    }
    for path, page in pages.items():
        for target, anchor in sorted(set(targets(path, page))):
            if not target.exists():
                yield f"{path}: links to {target}, which is not there"
            elif anchor and target in anchors and anchor not in anchors[target]:
                yield f"{path}: links to #{anchor} of {target}, which is not there"


def orphans(pages, first):
    """Yield the pages that no chain of links from the first one reaches."""
    reached, queue = {first}, deque([first])
    while queue:
        path = queue.popleft()
        for target, _ in targets(path, pages[path]):
            if target in pages and target not in reached:
                reached.add(target)
                queue.append(target)
    for path in pages:
        if path not in reached and path.name not in SPECIAL:
            yield f"{path}: no link leads to it"


def torn_tables(pages):
    """Yield the rows of tables in the text that are no rows."""
    for path, page in pages.items():
        for table in page.select("article table"):
            rows = [row.find_all(["td", "th"]) for row in table.find_all("tr")]
            if table.find(rowspan=True) or table.find_parent(class_="sk-top-container"):
                continue
            width = sum(int(cell.get("colspan", 1)) for cell in rows[0])
            for row in rows[1:]:
                if sum(int(cell.get("colspan", 1)) for cell in row) != width:
                    yield f"{path}: a row has not {width} cells: {row}"
                elif width > 1 and not row[0].get_text(strip=True) and not row[0].find("img"):
                    yield f"{path}: a row begins with an empty cell: {row}"


def main(folder):
    """Print what is wrong, and return whether anything is."""
    pages = read(folder)
    first = (folder / "index.html").resolve()
    wrong = [*dead_links(pages), *orphans(pages, first), *torn_tables(pages)]
    print("\n".join(wrong) or f"{len(pages)} pages, no dead link, no orphan, no torn table")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
