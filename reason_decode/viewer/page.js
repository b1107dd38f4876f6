// Entry point: read the data, draw the list, open a trace.

const head = JSON.parse(document.getElementById("head-data").textContent);
const lines = document.getElementById("trace-data").textContent.split("\n");
const main = document.getElementById("trace");
const single = head.rows.length === 1;
let list = null;

function view(k) {
  return JSON.parse(lines[k]);
}

// All texts of a trace, to search in.
function textOf(row, k) {
  const { prompt, target, nodes } = view(k);
  const texts = nodes.flatMap((node) => [node.text, node.answer, node.rationale, node.lookahead_text]);
  return [row.id, row.kind, prompt, target, ...texts].filter(Boolean).join("\n");
}

function open(k, go) {
  const row = head.rows[k];
  main.replaceChildren(detail(row, view(k), head.runs[row.run ?? 0]));
  main.scrollTop = 0;
  list.select(k);
  remember(`#${k + 1}`);
  if (go) {
    show("trace");
    document.getElementById("heading").focus({ preventScroll: true });
  }
}

// Narrow screens show either the list or the trace.
function show(which) {
  document.body.dataset.view = which;
  if (which === "list") document.getElementById("rows").focus();
}

function remember(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch {
    // A sandboxed frame in a notebook has no history.
  }
}

function stored(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function theme(name) {
  const known = ["auto", "light", "dark"].includes(name) ? name : "auto";
  document.documentElement.dataset.theme = known;
  const button = document.getElementById("theme");
  button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[known];
  button.setAttribute("aria-label", `Theme: ${known}`);
}

function nextTheme() {
  const next = { auto: "light", light: "dark", dark: "auto" }[document.documentElement.dataset.theme];
  stored("reason-decode-theme", next);
  theme(next);
}

const KEYS = [
  ["j, k", "next, previous trace"],
  ["/", "search"],
  ["Enter", "open the trace that is selected in the list"],
  ["↑ ↓ ← →", "move through the tree, open, close"],
  ["Esc", "back to the list"],
  ["t", "switch between light and dark"],
  ["?", "show these keys"],
];

function keys() {
  const dialog = document.getElementById("keys");
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const rows = KEYS.flatMap(([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)]);
  dialog.replaceChildren(make("h2", {}, "Keys"), make("dl", { class: "pairs" }, ...rows), close);
  dialog.showModal();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("keys").open) return;
  const typing = event.target.matches("input[type=search], select");
  if (event.key === "Escape") show("list");
  else if (typing) return;
  else if (event.key === "j") list.step(1);
  else if (event.key === "k") list.step(-1);
  else if (event.key === "t") nextTheme();
  else if (event.key === "?") keys();
  else if (event.key === "/") {
    show("list");
    document.getElementById("search").focus();
  } else return;
  event.preventDefault();
}

function summary() {
  const graded = head.rows.filter((row) => row.correct !== undefined);
  const right = graded.filter((row) => row.correct).length;
  const parts = single ? [] : [plural(head.rows.length, "trace")];
  if (!single && graded.length) parts.push(`${count(right)} of ${count(graded.length)} right (${((100 * right) / graded.length).toFixed(1)} %)`);
  if (head.rejected.length) parts.push(`${plural(head.rejected.length, "line")} set aside`);
  return parts.join(" · ");
}

function rejectedBox() {
  const items = head.rejected.slice(0, 200).map((one) => make("li", {}, visible(`${one.file}, line ${one.row}: ${one.reason}`)));
  const box = make("details", { class: "run" }, make("summary", {}, `${plural(head.rejected.length, "line")} set aside`), make("ul", {}, ...items));
  document.querySelector(".filters").append(box);
}

// Label of a trace: its strategy, and its file if there are several.
function nameKinds() {
  const several = new Set(head.rows.map((row) => row.run)).size > 1;
  for (const row of head.rows) {
    const file = head.runs[row.run]?.file;
    row.kind = several && file ? `${row.strategy} · ${file}` : row.strategy;
  }
}

function start() {
  nameKinds();
  theme(stored("reason-decode-theme"));
  document.getElementById("title").append(visible(head.title));
  document.getElementById("summary").append(visible(summary()));
  document.getElementById("theme").addEventListener("click", nextTheme);
  document.getElementById("help").addEventListener("click", keys);
  document.addEventListener("keydown", onKey);
  document.body.classList.toggle("single", single);
  if (head.rejected.length) rejectedBox();
  list = new TraceList(head.rows, textOf, open);
  const wanted = Number(location.hash.slice(1));
  const known = Number.isInteger(wanted) && wanted >= 1 && wanted <= head.rows.length;
  if (known || single) show("trace");
  open(known ? wanted - 1 : 0, false);
  // Milliseconds from the request to the drawn page.
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

start();
