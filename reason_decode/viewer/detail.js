// An opened trace, and the settings of its run.

function detail(row, view, run) {
  const numbers = view.nodes.flatMap((node) => [node.score, node.total].filter((x) => x !== undefined));
  const range = rangeOf([...numbers, ...(view.best.scores ?? [])]);
  const element = make("article", {});
  const heading = make("h2", { id: "heading", tabindex: "-1" }, visible(row.id));
  element.append(
    make("div", { class: "heading" }, backButton(), heading, verdict(row.correct), make("span", { class: "kind" }, visible(row.kind))),
    make("section", { "aria-label": "Prompt" }, make("h3", {}, "Prompt"), block(view.prompt, "model-text prompt")),
    solution(view, range),
  );
  if (view.votes.length) element.append(voteTable(view.votes));
  element.append(candidates(view, range), facts(row, view));
  if (run) element.append(runBox(run, "Settings and results of the run"));
  return element;
}

function backButton() {
  const button = make("button", { type: "button", class: "back", "aria-label": "Back to the list" }, "‹ List");
  button.addEventListener("click", () => show("list"));
  return button;
}

function solution(view, range) {
  const { steps = [], scores = [], total, answer, finished } = view.best;
  const each = scores.length === steps.length && steps.length > 0;
  const list = make("ol", { class: "steps" });
  steps.forEach((text, k) => {
    list.append(make("li", {}, each ? chip(scores[k], range) : null, block(text, "line-text")));
  });
  const title = make("h3", {}, "Chosen solution");
  if (total !== undefined) title.append(make("span", { class: "aside" }, "total ", chip(total, range, "total")));
  const section = make("section", { "aria-label": "Chosen solution" }, title, list);
  if (finished === false) section.append(make("p", { class: "note" }, "Cut off: it did not end by itself."));
  const outcome = [
    ["Answer", answer],
    ["Right answer", view.target ?? undefined],
  ].filter(([, text]) => text !== undefined);
  if (outcome.length) section.append(pairs(outcome));
  return section;
}

function pairs(rows) {
  return make("dl", { class: "pairs" }, ...rows.flatMap(([name, text]) => [make("dt", {}, visible(name)), make("dd", {}, visible(String(text)))]));
}

function voteTable(votes) {
  const most = Math.max(...votes.map((vote) => vote.weight), 0);
  const all = votes.reduce((sum, vote) => sum + vote.weight, 0);
  const head = make("tr", {}, ...["Answer", "Votes", "Weight", "Share"].map((name) => make("th", { scope: "col" }, name)));
  const body = votes.map((vote) => {
    const bar = make("span", { class: "bar" });
    bar.style.width = `${most > 0 ? (100 * vote.weight) / most : 0}%`;
    const share = all > 0 ? `${((100 * vote.weight) / all).toFixed(0)} %` : "–";
    const answer = make("th", { scope: "row", dir: "auto" }, vote.answer === null ? make("i", {}, "no answer") : visible(vote.answer.slice(0, 200)));
    if (vote.won) answer.append(" ", make("span", { class: "tag chosen" }, "✓ chosen"));
    const weight = Number.isInteger(vote.weight) ? count(vote.weight) : short(vote.weight);
    return make("tr", { class: vote.won ? "won" : false }, answer, make("td", {}, count(vote.count)), make("td", { title: vote.weight }, weight), make("td", { class: "share" }, bar, make("span", {}, share)));
  });
  const table = make("table", { class: "votes" }, make("thead", {}, head), make("tbody", {}, ...body));
  return make("section", { "aria-label": "Votes" }, make("h3", {}, "Votes"), table);
}

function candidates(view, range) {
  const tree = new Tree(view, range);
  const openAll = make("button", { type: "button", class: "quiet" }, "Open all");
  openAll.addEventListener("click", () => tree.all(true));
  const closeAll = make("button", { type: "button", class: "quiet" }, "Close all");
  closeAll.addEventListener("click", () => tree.all(false));
  const section = make(
    "section",
    { "aria-label": view.search ? "Search" : "Candidates" },
    make("h3", {}, view.search ? "Search, step by step" : "Candidates", make("span", { class: "aside" }, openAll, closeAll)),
  );
  if (view.search && view.nodes.length > 1) section.append(tree.map());
  if (numbersIn(view.nodes)) section.append(legend(range));
  section.append(tree.element);
  return section;
}

function numbersIn(nodes) {
  return nodes.some((node) => node.score !== undefined || node.total !== undefined);
}

function legend(range) {
  const scale = make("span", { class: "scale", "aria-hidden": "true" });
  for (let k = 0; k <= 10; k++) scale.append(make("span", { class: `s${k}` }));
  return make("p", { class: "legend" }, `score ${short(range[0])}`, scale, short(range[1]));
}

function facts(row, view) {
  const rounds = view.search ? 1 + Math.max(0, ...view.nodes.map((node) => node.depth)) : 0;
  const rows = [
    [view.search ? "Steps sampled" : "Candidates", count(row.candidates)],
    ["Tokens sampled for them", count(row.tokens)],
  ];
  if (rounds) rows.splice(1, 0, ["Rounds", count(rounds)]);
  if (view.chosen > 1) rows.push(["Returned", plural(view.chosen, "solution")]);
  return make("section", { "aria-label": "Statistics" }, make("h3", {}, "Statistics"), pairs(rows));
}

// Settings and results of a run; the tokens by role are in a table.
function runBox(run, title) {
  const { cost, ...others } = run;
  const plain = Object.entries(others).flatMap(([name, value]) => {
    if (value === null || value === undefined || (typeof value === "object" && !Array.isArray(value))) return [];
    if (Array.isArray(value)) return value.length && value.every((x) => typeof x === "number") ? [[words(name), value.map(tidy).join(" – ")]] : [];
    return [[words(name), typeof value === "number" ? tidy(value) : String(value)]];
  });
  const box = make("details", { class: "run" }, make("summary", {}, title), pairs(plain));
  if (cost && typeof cost === "object") box.append(costTable(cost));
  return box;
}

function words(name) {
  return name.replaceAll("_", " ");
}

function tidy(number) {
  return Number.isInteger(number) ? count(number) : String(Number(number.toPrecision(4)));
}

function costTable(cost) {
  const rows = Object.entries(cost).flatMap(([role, kinds]) => {
    if (typeof kinds === "number") return [[role, "", kinds]];
    return Object.entries(kinds ?? {}).map(([kind, number]) => [role, kind, number]);
  });
  const head = make("tr", {}, ...["Role", "Tokens", ""].map((name) => make("th", { scope: "col" }, name)));
  const body = rows.map(([role, kind, number]) =>
    make("tr", {}, make("th", { scope: "row" }, visible(role)), make("td", { class: "word" }, visible(kind)), make("td", {}, tidy(Number(number)))),
  );
  return make("table", { class: "cost" }, make("caption", {}, "Cost of the whole run"), make("thead", {}, head), make("tbody", {}, ...body));
}
