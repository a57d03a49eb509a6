"use strict";
/* dom.js - elements from texts. What others wrote (users, models, names of runs) becomes text and attributes that run
 * nothing, never markup. All files of the page share one object, `page`. */
var page = {views: {}};

(function () {
const ATTRIBUTES =
    new Set(("class id for type name value min max step rows list placeholder autocomplete role scope colspan open " +
             "disabled checked selected tabindex title lang alt viewBox x y x1 x2 y1 y2 cx cy r text-anchor")
                .split(" "));

function add(to, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    to.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return to;
}

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "href") {
      if (!String(value).startsWith("#")) throw new Error("href: expected a view of this page");
    } else if (!ATTRIBUTES.has(name) && !name.startsWith("aria-")) {
      throw new Error("attribute " + name + ": not one that the page sets");
    }
    element.setAttribute(name, value === true ? "" : String(value));
  }
  return add(element, children);
}

page.el = (name, attributes, ...children) => make(document.createElement(name), attributes, children);
page.svg = (name, attributes, ...children) =>
    make(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
page.fill = (element, ...children) => {
  element.replaceChildren();
  return add(element, children);
};
page.on = (element, event, fn) => {
  element.addEventListener(event, fn);
  return element;
};
page.button = (text, fn, kind) => page.on(page.el("button", {type: "button", class: kind}, text), "click", fn);

/* A label and its field, whose id is made here. */
let fields = 0;
  page.field = (text, field, inline) => {
  field.id = field.id || "field" + ++fields;
    const label = page.el("label", { for: field.id, class: inline ? "inline" : null });
    if (inline) return add(label, [field, text]);
    return [add(label, [text]), field];
  };

  page.tell = (text) => {
    document.getElementById("status").textContent = text;
  };

  page.number = (v, digits = 2) => (typeof v === "number" && isFinite(v) ? v.toFixed(digits) : "–");
  page.percent = (v, digits = 0) => (typeof v === "number" && isFinite(v) ? (100 * v).toFixed(digits) + " %" : "–");
  page.letter = (i) => (i < 26 ? String.fromCharCode(65 + i) : String(i + 1));
  page.clip = (text, n) => (text.length > n ? text.slice(0, n) + "…" : text);

  /* A bar of `share` (0..1) of its width, beside a number that says the same. */
  page.bar = (share) => {
    const inside = page.el("span");
    inside.style.width = Math.max(0, Math.min(1, share || 0)) * 100 + "%";
    return page.el("span", {class: "bar", "aria-hidden": "true"}, inside);
  };

  /* columns: [{title, number, cell: row => content}] */
  page.table = (caption, columns, rows) =>
    page.el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
      page.el("table", {},
        page.el("caption", {}, caption),
        page.el("thead", {}, page.el("tr", {}, columns.map((c) =>
          page.el("th", { scope: "col", class: c.number ? "number" : null }, c.title)))),
        page.el("tbody", {}, rows.map((row) => page.el("tr", {}, columns.map((c, i) =>
          page.el(i ? "td" : "th", { scope: i ? null : "row", class: c.number ? "number" : null }, c.cell(row))))))));

  /* A question that must be answered before something is lost. */
  page.confirm = (question, yes) => new Promise((done) => {
    const dialog = page.el("dialog", {"aria-label": question});
    const end = (answer) => () => {
      dialog.close();
      dialog.remove();
      done(answer);
    };
    page.fill(
        dialog, page.el("p", {}, question),
        page.el("div", {class: "row"}, page.button(yes, end(true), "danger"), page.button("Keep", end(false))));
    page.on(dialog, "cancel", end(false));
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector("button:last-of-type").focus();
  });
})();
