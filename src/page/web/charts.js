"use strict";
/* charts.js - Chart.js with the page's colours; what a chart shows stands in a table behind it, which is all there is
 * where the program was built without Chart.js. */
(function() {
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
page.colour = (i) => colour("c" + (i % 6));

let shown = [];
page.dropCharts = () => {
  for (const chart of shown) chart.destroy();
  shown = [];
};

function axis(title, more) {
  return Object.assign(
      {
        title: {display: !!title, text: title, color: colour("ink")},
        grid: {color: colour("line")},
        ticks: {color: colour("ink")}
      },
      more);
}

function pointTable(title, sets, xTitle, yTitle) {
  const rows = sets.flatMap((s) => s.points.slice(-200).map((p) => ({name: s.name, p})));
  return page.table(
      title,
      [
        {title: "series", cell: (r) => r.name}, {
          title: xTitle || "x",
          number: true,
          cell: (r) => (typeof r.p.x === "number" ? +r.p.x.toPrecision(6) : r.p.x)
        },
        {title: yTitle || "y", number: true, cell: (r) => +r.p.y.toPrecision(6)}
      ],
      rows);
}

/* sets: [{name, points: [{x, y, size}], dashed, points: only dots}]; o: {x, y, xRange, yRange, dots, bars} */
page.chart = (title, sets, o = {}) => {
  const details = page.el("details", {}, page.el("summary", {}, "As a table"));
  page.on(details, "toggle", () => {
    if (details.open && details.children.length === 1) details.append(pointTable(title, sets, o.x, o.y));
  });
  const box = page.el("figure", {class: "card"}, page.el("h3", {}, title));
  if (typeof Chart === "undefined") {
    details.setAttribute("open", "");
    details.append(pointTable(title, sets, o.x, o.y));
    box.append(details);
    return box;
  }
  const last =
      sets.map((s) => s.name + " " + (s.points.length ? page.number(s.points[s.points.length - 1].y, 3) : "none"));
  const canvas = page.el("canvas", {role: "img", "aria-label": title + ". Last values: " + last.join(", ")});
  box.append(page.el("div", {class: "chart"}, canvas), details);
  const range = (r) => (r ? {min: r[0], max: r[1]} : {});
  const chart = new Chart(canvas, {
    type: o.bars ? "bar" : "scatter",
    data: {
      labels: o.bars,
      datasets:
          sets.map((s, i) => ({
                     label: s.name,
                     data: o.bars ? s.points.map((p) => p.y) : s.points,
                     showLine: !o.dots || s.line,
                     tension: 0,
                     borderWidth: 2,
                     borderDash: s.dashed ? [6, 4] : [],
                     pointRadius: s.bare || (!o.dots && s.points.length > 60) ? 0 : s.points.map((p) => p.size || 3),
                     borderColor: s.colour || page.colour(i),
                     backgroundColor: (s.colour || page.colour(i))
                   }))
    },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      indexAxis: o.bars ? "y" : "x",
      scales: o.bars ? {x: axis(o.x, range(o.xRange)), y: axis("", {})} :
                       {x: axis(o.x, range(o.xRange)), y: axis(o.y, range(o.yRange))},
      plugins: {legend: {display: sets.length > 1, labels: {color: colour("ink")}}}
    }
  });
  shown.push(chart);
  page.chartOf.set(box, chart);
  return box;
};
page.chartOf = new WeakMap();

/* The scores of single chains on the line from 1 to 10, and their mean. */
page.strip = (scores, mean) => {
  const at = (v) => 10 + ((v - 1) / 9) * 280;
  const marks = [1, 4, 7, 10].map((v) => page.svg("text", {x: at(v), y: 42, "text-anchor": "middle"}, v));
  const rows = {};
  const dots = scores.filter((v) => typeof v === "number").map((v) => {
    const bin = Math.round(v * 5);
    rows[bin] = (rows[bin] || 0) + 1;
    return page.svg("circle", {cx: at(v), cy: 24 - 6 * Math.min(3, rows[bin] - 1), r: 3.5});
  });
  const line =
      typeof mean === "number" ? page.svg("line", {class: "mean", x1: at(mean), x2: at(mean), y1: 2, y2: 30}) : null;
  return page.svg(
      "svg", {
        class: "strip",
        viewBox: "0 0 300 46",
        role: "img",
        "aria-label": scores.length + " chains, mean " + page.number(mean)
      },
      page.svg("line", {class: "axis", x1: 10, x2: 290, y1: 30, y2: 30}), marks, dots, line);
};

/* Colours follow the screen's mode. */
page.on(matchMedia("(prefers-color-scheme: dark)"), "change", () => page.show && page.show());
})();
