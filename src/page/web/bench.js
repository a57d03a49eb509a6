"use strict";
/* bench.js - a benchmark's report: accuracy by method, calibration, agreement, by user, and runs beside each other.
 */
(function() {
const name = (r) => {
  const asked = [r.ind ? "Ind-" + r.ind : "", r.pro ? "Pro-" + r.pro : ""].filter(Boolean).join(",");
  return r.method + (asked ? " " + asked : "") + (r.stranger ? " (strangers)" : r.plain ? " (no history)" : "");
};
const within = (v, se, digits = 3) =>
    page.number(v, digits) + (typeof se === "number" ? " ± " + page.number(se, digits) : "");
const plus = (v, se) => (typeof v === "number" ? (v >= 0 ? "+" : "−") + within(Math.abs(v), se) : "–");
const groups = (rows) => {
  const out = new Map();
  for (const r of rows) out.set(r.data, (out.get(r.data) || []).concat([r]));
  return [...out];
};

page.benchRows = async (run) => page.lines((await page.runText(run.name, "rows.jsonl")).text);

/* ---- one data set ---- */

const accuracyTable = (rows) => page.table(
    "Accuracy: ties and failures count as half; ± are standard errors, the larger of those by user and by question",
    [
      {title: "method", cell: name},
      {title: "accuracy", number: true, cell: (r) => within(r.accuracy, r.accuracy_se)},
      {title: "over longest", number: true, cell: (r) => plus(r.over_longest, r.over_longest_se)},
      {title: "over base", number: true, cell: (r) => plus(r.over_base, r.over_base_se)},
      {title: "own − strangers", number: true, cell: (r) => plus(r.over_stranger, r.over_stranger_se)},
      {title: "log loss", number: true, cell: (r) => page.number(r.log_loss, 3)},
      {title: "by user", number: true, cell: (r) => page.number(r.macro_user, 3)},
      {title: "failures", number: true, cell: (r) => r.failures},
      {title: "seconds", number: true, cell: (r) => page.number(r.seconds, 1)}
    ],
    rows);

const trustTable = (rows) => page.table("Whether its probabilities can be believed, and how it agrees", [
    { title: "method", cell: name },
    { title: "calibrated", cell: (r) => (r.calibrated ? "yes" : "no") },
    { title: "ECE", number: true, cell: (r) => page.number(r.ece, 3) },
    {
          title: "its floor (95 %)",
          number: true,
          cell: (r) => page.number(r.ece_floor, 3) + " (" + page.number(r.ece_floor_95, 3) + ")",
        },
    {
          title: "where rows hang together",
          number: true,
          cell: (r) => page.number(r.ece_floor_clustered, 3) + " (" + page.number(r.ece_floor_clustered_95, 3) + ")",
        },
    { title: "too sure by", number: true, cell: (r) => plus(r.overconfidence, r.overconfidence_se) },
    { title: "Brier", number: true, cell: (r) => page.number(r.brier, 3) },
    { title: "kappa", number: true, cell: (r) => page.number(r.kappa, 3) },
    { title: "by chance", number: true, cell: (r) => page.number(r.kappa_chance, 3) },
    { title: "longer chosen", number: true, cell: (r) => page.number(r.longer_chosen, 3) },
    { title: "flips", number: true, cell: (r) => page.number(r.flip_rate, 3) },
    { title: "self-consistency", number: true, cell: (r) => page.number(r.self_consistency, 3) },
    { title: "of its halves", number: true, cell: (r) => page.number(r.self_consistency_halves, 3) }], rows);

function reliability(rows) {
  const sets = rows.filter((r) => (r.calibration || []).length > 1).map((r, i) => {
    const most = Math.max(...r.calibration.map((b) => b.n));
    return {
      name: name(r),
      line: true,
      colour: page.colour(i),
      points: r.calibration.map((b) => ({x: b.confidence, y: b.right, size: 3 + 7 * Math.sqrt(b.n / most)}))
    };
  });
  if (!sets.length) return null;
  sets.push({
    name: "what is said is so",
    points: [{x: 0.5, y: 0.5}, {x: 1, y: 1}],
    dashed: true,
    bare: true,
    line: true,
    colour: page.colour(5)
  });
  return page.chart(
      "Reliability: how often it was right at a confidence", sets,
      {x: "confidence", y: "right", xRange: [0.5, 1], yRange: [0, 1], dots: true});
}

function bars(rows) {
  const shown = rows.slice(0, 24);
  return page.chart(
      "Accuracy by method", [{name: "accuracy", points: shown.map((r) => ({x: name(r), y: r.accuracy}))}],
      {x: "accuracy", xRange: [0, 1], bars: shown.map(name)});
}

function byChains(rows) {
  const sets = rows.filter((r) => (r.by_chains || []).length > 1)
                   .map((r) => ({name: name(r), points: r.by_chains.map((c) => ({x: c.chains, y: c.accuracy}))}));
  return sets.length ? page.chart("Accuracy of the first chains", sets, {x: "chains", y: "accuracy"}) : null;
}

function robust(rows) {
  const shown = rows.filter((r) => (r.robust || []).length);
  if (!shown.length) return null;
  return page.table(
      "How often a text that says nothing wins against the chosen answer",
      [
        {title: "method", cell: name},
        ...shown[0].robust.map(
            (_, i) => ({
              title: shown[0].robust[i].text || shown[0].robust[i].kind || "text " + (i + 1),
              number: true,
              cell: (r) => within(r.robust[i] && r.robust[i].wins, r.robust[i] && r.robust[i].wins_se)
            }))
      ],
      shown);
}

/* ---- by user, from the journal ---- */

function byUser(verdicts, data) {
  const methods = new Map(), users = new Map();
  for (const v of verdicts) {
    if (v.data !== data || typeof v.user !== "string" || v.stranger) continue;
    const key = name(v);
    methods.set(key, true);
    const of = users.get(v.user) || users.set(v.user, new Map()).get(v.user);
    const sum = of.get(key) || {n: 0, right: 0, flips: 0, asked: 0};
    sum.n++;
    sum.right += v.right;
    if (typeof v.flip === "number") {
      sum.flips += v.flip;
      sum.asked++;
    }
    of.set(key, sum);
  }
  if (!users.size) return null;
  const rows = [...users]
                   .map(([user, of]) => ({user, of, n: Math.max(...[...of.values()].map((s) => s.n))}))
                   .sort((a, b) => b.n - a.n);
  const share = (s) => (s ? page.number(s.right / s.n, 2) : "–");
  return page.el(
      "details", {}, page.el("summary", {}, "By user (" + rows.length + ")"),
      page.table(
          "Accuracy by user, those with most pairs first",
          [
            {title: "user", cell: (r) => r.user}, {title: "pairs", number: true, cell: (r) => r.n},
            ...[...methods.keys()].map((m) => ({title: m, number: true, cell: (r) => share(r.of.get(m))}))
          ],
          rows.slice(0, 300)));
}

page.showBench = async (run, box) => {
  const rows = await page.benchRows(run);
  const verdicts = run.files["verdicts.jsonl"] < (48 << 20) ?
      page.lines((await page.runText(run.name, "verdicts.jsonl")).text) :
      [];
  page.fill(box);
  if (!rows.length)
    box.append(
        page.el("p", {role: "status"}, verdicts.length + " verdicts so far; the report comes when all are there."));
  for (const [data, of] of groups(rows)) {
    const first = of[0];
    box.append(
        page.el("h2", {}, data),
        page.el(
            "p", {class: "note"},
            first.pairs + " pairs of " + first.users + " users about " + first.questions + " questions (" +
                first.split + "), seed " + first.seed + "; model " +
                (of.map((r) => r.model).find(Boolean) || "none")),
        accuracyTable(of), page.el("h3", {}, "Calibration and agreement"), trustTable(of),
        page.el("div", {class: "charts"}, [reliability(of), bars(of), byChains(of)].filter(Boolean)));
    for (const part of [robust(of), byUser(verdicts, data)])
      if (part) box.append(part);
  }
};

page.compareBench = async (runs, box) => {
  const all = [];
  for (const run of runs)
    for (const r of await page.benchRows(run)) all.push(Object.assign({run: run.name}, r));
  page.fill(box);
  for (const [data, of] of groups(all)) {
    of.sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
    box.append(
        page.el("h2", {}, data),
        page.table(
            "The same methods of several runs",
            [
              {title: "method", cell: name}, {title: "run", cell: (r) => r.run},
              {title: "model", cell: (r) => r.model || "none"}, {title: "pairs", number: true, cell: (r) => r.pairs},
              {title: "accuracy", number: true, cell: (r) => within(r.accuracy, r.accuracy_se)},
              {title: "over longest", number: true, cell: (r) => plus(r.over_longest, r.over_longest_se)},
              {title: "own − strangers", number: true, cell: (r) => plus(r.over_stranger, r.over_stranger_se)},
              {title: "log loss", number: true, cell: (r) => page.number(r.log_loss, 3)},
              {title: "ECE", number: true, cell: (r) => page.number(r.ece, 3)},
              {title: "kappa", number: true, cell: (r) => page.number(r.kappa, 3)},
              {title: "flips", number: true, cell: (r) => page.number(r.flip_rate, 3)}
            ],
            of));
  }
};
})();
