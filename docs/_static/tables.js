// Long tables: a click on a heading sorts the rows, and a text field selects rows.
"use strict";

const LONG = 12;

function compare(a, b) {
  const [x, y] = [a, b].map((text) => parseFloat(text.replaceAll(",", "")));
  if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y;
  return a.localeCompare(b, undefined, { numeric: true });
}

function sort(table, column, descending) {
  const body = table.tBodies[0];
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((a, b) => {
    if (!text(a) || !text(b)) return Boolean(text(b)) - Boolean(text(a)); // empty cells last
    return (descending ? -1 : 1) * compare(text(a), text(b));
  });
  body.append(...rows);
}

function addSorting(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}

function addFilter(table, box) {
  const field = document.createElement("input");
  const rows = [...table.tBodies[0].rows];
  field.type = "search";
  field.className = "table-filter form-control";
  field.placeholder = field.ariaLabel = `Filter ${rows.length} rows`;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
  });
  box.before(field);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("article table").forEach((table) => {
    if (!table.tHead || !(table.tBodies[0]?.rows.length > LONG)) return;
    table.classList.add("long");
    const box = table.closest(".pst-scrollable-table-container") ?? table;
    box.classList.add("long-table");
    addSorting(table);
    addFilter(table, box);
  });
});
