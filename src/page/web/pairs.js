"use strict";
/* pairs.js - a user's history on the page: choosing the user, his pairs, quotes found in them. */
(function() {
let users = null; /* [{id, pairs}]; [] where the server has no store */

page.users = async () => {
  if (users) return users;
  try {
    const answer = await page.json("GET", "v1/personal/users");
    users = answer.users;
    users.more = answer.more;
  } catch (e) {
    if (e.status !== 501) throw e;
    users = [];
    users.none = true;
  }
  return users;
};
page.usersChanged = () => {
  users = null;
};

page.getUser = (id) => page.json("GET", "v1/personal/users/" + encodeURIComponent(id));

/* A field for a user's id with the known ones to choose from. */
page.userField = (label, value) => {
  const list = page.el("datalist", {id: "known-users"});
  const input = page.el("input", {type: "text", class: "wide", list: "known-users", autocomplete: "off", value});
  page.users().then(
      (all) => page.fill(list, all.map((u) => page.el("option", {value: u.id}, u.pairs + " pairs"))),
      (e) => page.tell(e.message));
  return {input, nodes: [page.field(label, input), list]};
};

const question = (pair) => {
  if (typeof pair.query === "string") return pair.query;
  const turns = pair.context || pair.messages || [];
  return Array.isArray(turns) && turns.length ? String(turns[turns.length - 1].content || "") : String(turns);
};
page.questionOf = question;

/* What `reason` has between quotes, found in the history: [{pair: number, side, text}]. A quote that was cut ends
 * with three dots. */
page.quotes = (reason, history) => {
  const out = [];
  for (const [, quoted] of (reason || "").matchAll(/["“]([^"”]{8,})["”]/g)) {
    const text = quoted.replace(/(\.\.\.|…)$/, "").trim();
    history.some((pair, i) => ["chosen", "rejected", "query"].some((side) => {
      const whole = side === "query" ? question(pair) : pair[side];
      if (!String(whole).includes(text)) return false;
      out.push({pair: i + 1, side, text: whole, query: question(pair)});
      return true;
    }));
  }
  return out;
};

page.pairCard = (pair, i, more) => page.el(
    "li", {class: "card"}, page.el("h3", {}, "Choice " + (i + 1)), page.el("p", {class: "text"}, question(pair)),
    page.el("p", {class: "text"}, page.el("strong", {class: "good"}, "Chosen: "), pair.chosen),
    page.el("p", {class: "text"}, page.el("strong", {class: "bad"}, "Rejected: "), pair.rejected), more);
})();
