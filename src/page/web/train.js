"use strict";
/* train.js - a training run's curves under the names that TRL has, live while the run writes them; what it wrote. */
(function() {
const NAMES = {
  frac_reward_zero_std: "zero-variance share",
  "rewards/parsed/mean": "parse rate",
  "chains/parsed": "parse rate",
  reward_std: "reward, standard deviation"
};
const FIRST = [
  "loss", "reward", "reward_std", "frac_reward_zero_std", "rewards/parsed/mean", "rewards/coverage/mean",
  "rewards/outcome/mean", "kl", "entropy", "completions/mean_length", "completions/clipped_ratio"
];
const PASSED_OVER = ["step", "epoch", "num_tokens", "evaluation", "kind", "sample", "samples", "timestamp"];
const POINTS = 400, POLL_MS = 3000;

const title = (key) => (NAMES[key] ? NAMES[key] + " (" + key + ")" : key);

/* {key: {kind: [{x, y}]}} of the steps or of the evaluations. */
function curves(lines, evaluation) {
  const out = new Map();
  for (const line of lines) {
    if (!!line.evaluation !== evaluation || typeof line.sample === "string" || typeof line.step !== "number")
      continue;
    for (const [key, y] of Object.entries(line)) {
      if (typeof y !== "number" || PASSED_OVER.includes(key) || key.endsWith("_se") || key.endsWith("/pairs"))
        continue;
      const kinds = out.get(key) || out.set(key, new Map()).get(key), kind = line.kind || "";
      (kinds.get(kind) || kinds.set(kind, []).get(kind)).push({x: line.step, y});
    }
  }
  return out;
}

/* Means of neighbouring values, where there are more than can be seen. */
function thin(points) {
  const each = Math.ceil(points.length / POINTS);
  if (each < 2) return points;
  const out = [];
  for (let i = 0; i < points.length; i += each) {
    const part = points.slice(i, i + each), mean = (k) => part.reduce((sum, p) => sum + p[k], 0) / part.length;
    out.push({x: mean("x"), y: mean("y")});
  }
  return out;
}

const sets = (kinds, prefix) => [...kinds].map(
    ([kind, points]) => ({name: (prefix || "") + (kind || "all steps"), points: thin(points)}));

/* "taste/own", "taste/stranger", "taste/flipped" in one picture, where all lie in 0..1. */
function evaluations(lines) {
  const all = curves(lines, true), groups = new Map();
  for (const [key, kinds] of all) {
    const points = [...kinds.values()].flat(), share = points.every((p) => p.y >= 0 && p.y <= 1);
    const of = share && key.includes("/") ? key.slice(0, key.indexOf("/")) : key;
    (groups.get(of) || groups.set(of, []).get(of))
        .push({name: key === of ? key : key.slice(of.length + 1), points: thin(points)});
  }
  return [...groups].map(
      ([of, list]) => page.chart(
          list.length > 1 ? of + ": " + list.map((s) => s.name).join(", ") : title(of), list,
          {x: "step", yRange: list.length > 1 ? [0, 1] : null}));
}

function steps(lines) {
  const all = curves(lines, false);
  const keys = [...all.keys()].sort((a, b) => (FIRST.indexOf(a) + 1 || 99) - (FIRST.indexOf(b) + 1 || 99));
  return keys.map((key) => page.chart(title(key), sets(all.get(key)), {x: "step"}));
}

/* ---- samples ---- */

const folded = (text) =>
    page.el("details", {}, page.el("summary", {}, page.clip(String(text || ""), 60)), page.el("pre", {}, text));

const SIGNS = {
  "all": () => true,
  "better than their group": (s) => s.advantage > 0,
  "worse than their group": (s) => s.advantage < 0,
  "no difference in the group": (s) => s.advantage === 0
};
const filter = {text: "", sign: "all"}; /* stays while a run is looked at again */

const fits = (s) => SIGNS[filter.sign](s) &&
    [s.user, s.prompt, s.completion].some(
        (t) => typeof t === "string" && t.toLowerCase().includes(filter.text.toLowerCase()));

function learntTable(rows) {
  const found = rows.filter(fits);
  return [
    page.el("p", {role: "status"}, found.length + " of " + rows.length + " samples"),
    page.table(
        "What the last steps have learnt from, with rewards and advantages",
        [
          {title: "step", number: true, cell: (s) => s.step}, {title: "user", cell: (s) => s.user || "–"},
          {title: "prompt", cell: (s) => folded(s.prompt)}, {title: "completion", cell: (s) => folded(s.completion)},
          {title: "reward", number: true, cell: (s) => page.number(s.reward, 3)},
          {title: "advantage", number: true, cell: (s) => page.number(s.advantage, 2)}
        ],
        found.slice(0, 64))
  ];
}

function learnt(lines) {
  const rows =
      lines.flatMap((l) => (Array.isArray(l.samples) ? l.samples.map((s) => Object.assign({step: l.step}, s)) : []))
          .reverse();
  if (!rows.length) return null;
  const table = page.el("div", {}, learntTable(rows)), text = page.el("input", {type: "search", class: "wide"});
  const sign = page.el(
      "select", {},
      Object.keys(SIGNS).map((name) => page.el("option", {value: name, selected: name === filter.sign}, name)));
  text.value = filter.text;
  const take = () => {
    Object.assign(filter, {text: text.value, sign: sign.value});
    page.fill(table, learntTable(rows));
  };
  page.on(text, "input", take);
  page.on(sign, "change", take);
  return [
    page.el(
        "div", {class: "row"}, page.el("div", {}, page.field("Samples with the text", text)),
        page.el("div", {}, page.field("Samples that are", sign))),
    table
  ];
}

function samples(lines, written) {
  const out = [];
  const table = learnt(lines);
  if (table) out.push(table);
  const told = lines.filter((l) => typeof l.sample === "string").slice(-8).reverse();
  for (const s of told) out.push(page.el("p", {class: "note"}, "after step " + s.step), page.el("pre", {}, s.sample));
  if (written.length)
    out.push(page.table(
        "Chains of the last evaluations",
        [
          {title: "step", number: true, cell: (s) => s.step}, {title: "history", cell: (s) => s.history},
          {title: "parsed", cell: (s) => (s.parsed ? "yes" : "no")},
          {title: "margin", number: true, cell: (s) => page.number(s.margin)}, {
            title: "chain",
            cell: (s) => page.el(
                "details", {}, page.el("summary", {}, page.clip(String(s.text), 60)), page.el("pre", {}, s.text))
          }
        ],
        written.slice(-60).reverse()));
  return out.length ? [page.el("h2", {}, "Samples"), out] : [];
}

/* ---- live ---- */

page.metricsOf = async (run) => page.lines((await page.runText(run.name, "metrics.jsonl")).text);

page.showTrain = async (run, box) => {
  let {text, next} = await page.runText(run.name, "metrics.jsonl");
  let lines = page.lines(text), rest = text.slice(text.lastIndexOf("\n") + 1);
  const written =
      run.files["samples.jsonl"] < (16 << 20) ? page.lines((await page.runText(run.name, "samples.jsonl")).text) : [];
  const head = page.el("p", {class: "note", role: "status"}), body = page.el("div");
  page.fill(box, head, body);
  const draw = () => {
    const last = lines.filter((l) => typeof l.step === "number").pop();
    page.dropCharts();
    head.textContent = last ?
        "Step " + last.step + (page.kept ? "" : ", looked at again every " + POLL_MS / 1000 + " s") :
        "No step yet";
    const tried = evaluations(lines);
    page.fill(
        body, tried.length ? [page.el("h2", {}, "Evaluation"), page.el("div", {class: "charts"}, tried)] : "",
        page.el("h2", {}, "Training"), page.el("div", {class: "charts"}, steps(lines)), samples(lines, written));
  };
  draw();
  if (page.kept) return;
  const look = async () => {
    if (!body.isConnected) return;
    try {
      const more = await page.runText(run.name, "metrics.jsonl", next);
      if (more.text) {
        next = more.next;
        const whole = rest + more.text, cut = whole.lastIndexOf("\n") + 1;
        rest = whole.slice(cut);
        const news = page.lines(whole.slice(0, cut));
        lines = lines.concat(news);
        const used = body.querySelector("details[open]") || body.contains(document.activeElement);
        if (news.length && body.isConnected && !used) draw();
      }
    } catch (e) {
      page.tell(e.message);
    }
    setTimeout(look, POLL_MS);
  };
  setTimeout(look, POLL_MS);
};

page.compareTrain = async (runs, box) => {
  const all = [];
  for (const run of runs) all.push([run.name, await page.metricsOf(run)]);
  page.fill(box);
  for (const [evaluation, heading] of [[true, "Evaluation"], [false, "Training"]]) {
    const keys = new Map();
    for (const [run, lines] of all)
      for (const [key, kinds] of curves(lines, evaluation))
        (keys.get(key) || keys.set(key, []).get(key))
            .push(...sets(kinds).map(
                (s) => ({name: run + (s.name === "all steps" ? "" : ", " + s.name), points: s.points})));
    if (keys.size)
      box.append(
          page.el("h2", {}, heading),
          page.el(
              "div", {class: "charts"}, [...keys].map(([key, list]) => page.chart(title(key), list, {x: "step"}))));
  }
};
})();
