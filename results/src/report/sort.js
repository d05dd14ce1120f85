"use strict";
(() => {
  const number = (text) => {
    const found = /^\s*[<+]?\s*(-?[\d.]+(?:e-?\d+)?)/.exec(text);
    return found ? Number(found[1]) : NaN;
  };
  const sort = (head, place) => {
    const table = head.closest("table"), body = table.tBodies[0];
    const before = head.getAttribute("aria-sort");
    const words = head.classList.contains("w");
    const down = before ? before === "ascending" : false;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[place] ? row.cells[place].textContent : "";
    const compare = (a, b) => {
      if (words) return key(a).localeCompare(key(b), "en");
      const x = number(key(a)), y = number(key(b));
      return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) || 0 : x - y;
    };
    const rows = [...body.rows].map((row, index) => ({ row, index }));
    const missing = (row) => !words && Number.isNaN(number(key(row)));
    rows.sort((a, b) => {
      if (missing(a.row) !== missing(b.row)) return missing(a.row) ? 1 : -1;
      return (down ? -1 : 1) * compare(a.row, b.row) || a.index - b.index;
    });
    for (const { row } of rows) body.append(row);
  };
  for (const table of document.querySelectorAll("table.sort")) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (head.classList.contains("o")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(head, place));
      head.append(button);
    });
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
