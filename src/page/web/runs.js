"use strict";
/* runs.js - the view Runs: which there are, one of them, several beside each other. What stands behind #runs/ names
 * them, so that a view can be kept as an address: #runs/NAME, #runs/NAME&NAME (each percent-encoded). */
(function() {
const asked = () => {
  const [, rest] = location.hash.match(/^#runs\/(.*)$/) || [];
  return rest ? rest.split("&").map((n) => {
    try {
      return decodeURIComponent(n);
    } catch (e) {
      return n;
    }
  }) :
                [];
};
const address = (names) => "#runs/" + names.map(encodeURIComponent).join("&");
const when = (s) => (s ? new Date(1000 * s).toISOString().slice(0, 16).replace("T", " ") : "–");

function list(main, runs) {
  const chosen = new Set();
  const go = page.button("Compare", () => {
    location.hash = address([...chosen]);
  }, "main");
  const fit = () => {
    const kinds = new Set(runs.filter((r) => chosen.has(r.name)).map((r) => r.kind));
    go.disabled = chosen.size < 2 || kinds.size !== 1;
  };
  const tick = (run) => {
    const box = page.el("input", {type: "checkbox", "aria-label": "Compare " + run.name});
    page.on(box, "change", () => {
      if (box.checked)
        chosen.add(run.name);
      else
        chosen.delete(run.name);
      fit();
    });
    return box;
  };
  fit();
  main.append(
      runs.length ? page.table(
                        "What bench and train wrote",
                        [
                          {title: "run", cell: (r) => page.el("a", {href: address([r.name])}, r.name)},
                          {title: "what", cell: (r) => (r.kind === "bench" ? "benchmark" : "training")},
                          {title: "changed (UTC)", cell: (r) => when(r.changed)}, {title: "beside others", cell: tick}
                        ],
                        runs) :
                    page.el("p", {}, "There are no runs yet."),
      page.el("div", {class: "row"}, go, page.el("span", {class: "note"}, "two or more of one kind")));
}

async function show(main) {
  page.fill(main, page.el("h1", {}, "Runs"));
  let runs;
  try {
    runs = await page.runs();
  } catch (e) {
    return void main.append(page.el(
        "p", {class: e.code === "no_runs" ? "note" : "bad"},
        e.code === "no_runs" ?
            "This server shows no runs. Start it with --runs DIR: what bench and train wrote below DIR is then here" :
            e.message));
  }
  const names = asked(), found = runs.filter((r) => names.includes(r.name));
  if (!names.length) return list(main, runs);
  const box = page.el("section", {"aria-label": "The run"}, page.el("p", {}, "Reading …"));
  page.fill(
      main, page.el("h1", {class: "text"}, names.join(" | ")),
      page.kept && runs.length === 1 ? "" : page.el("p", {}, page.el("a", {href: "#runs"}, "All runs")), box);
  try {
    if (!found.length) throw new Error("There is no such run.");
    if (found.length === 1)
      await (found[0].kind === "bench" ? page.showBench : page.showTrain)(found[0], box);
    else
      await (found.every((r) => r.kind === "bench") ? page.compareBench : page.compareTrain)(found, box);
  } catch (e) {
    page.fill(box, page.el("p", {class: "bad", role: "alert"}, e.message));
  }
}

page.views.runs = {
  title: "Runs",
  show
};
page.runAddress = address;
})();
