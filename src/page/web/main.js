"use strict";
/* main.js - which view is shown: the part of the address behind #. Keys: 1 to 4 the views, A, B, S in the queue. */
(function() {
const main = document.getElementById("main");
const names = page.kept ? ["runs"] : ["verdict", "chains", "feedback", "runs"];

function current() {
  const name = location.hash.slice(1).split("/")[0];
  return names.includes(name) ? name : names[0];
}

page.show = () => {
  const name = current();
  page.dropCharts();
  for (const link of document.querySelectorAll("#views a"))
    if (link.hash === "#" + name)
      link.setAttribute("aria-current", "page");
    else
      link.removeAttribute("aria-current");
  document.title = page.views[name].title + " – pgenrm";
  page.views[name].show(main);
};

page.fill(
    document.getElementById("views"),
    names.map((name) => page.el("li", {}, page.el("a", {href: "#" + name}, page.views[name].title))));
if (page.kept && page.kept.runs.length === 1 && !location.hash)
  location.replace(page.runAddress([page.kept.runs[0].name]));

page.on(window, "hashchange", () => {
  page.tell("");
  if (location.hash === "#main") return;
  page.show();
  main.focus();
});
page.on(document, "keydown", (e) => {
  if (e.ctrlKey || e.altKey || e.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) ||
      document.querySelector("dialog[open]"))
    return;
  if (current() === "feedback" && page.feedbackKey(e.key.toLowerCase())) return e.preventDefault();
  const at = Number(e.key) - 1;
  if (names[at]) location.hash = names[at];
});

page.show();
if (!page.kept)
  page.json("GET", "v1/models")
      .then(
          (m) => page.fill(document.getElementById("about"), m.data && m.data[0] ? m.data[0].id : ""),
          (e) => page.tell(e.message));
})();
