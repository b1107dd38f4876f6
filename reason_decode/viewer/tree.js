// The tree of one trace: an outline with keyboard navigation, and a map as an overview.

const FEW = 3; // up to so many dropped steps are shown at once
const MANY = 120; // in larger trees only the chosen path is open at first

class Tree {
  constructor(view, range) {
    this.nodes = view.nodes;
    this.search = view.search;
    this.range = range;
    this.items = new Map();
    this.children = this.nodes.map(() => []);
    this.roots = [];
    this.nodes.forEach((node, k) => (node.parent === undefined ? this.roots : this.children[node.parent]).push(k));
    if (this.search) [this.roots, ...this.children].forEach((group) => this.rank(group));
    this.element = make("ul", { role: "tree", class: view.search ? "tree searched" : "tree", "aria-label": "Candidates" });
    this.element.append(...this.group(this.roots, 1));
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("click", (event) => this.click(event));
    this.element.querySelector("[role=treeitem]")?.setAttribute("tabindex", "0");
  }

  // Sort siblings: chosen, then kept, then dropped, each by total.
  rank(group) {
    const order = { chosen: 0, kept: 1, part: 1, dropped: 2 };
    const total = (k) => this.nodes[k].total ?? -Infinity;
    group.sort((a, b) => order[this.nodes[a].state] - order[this.nodes[b].state] || total(b) - total(a));
  }

  // The items of siblings; many dropped ones are folded into one item.
  group(siblings, depth) {
    const dropped = this.search ? siblings.filter((k) => this.nodes[k].state === "dropped") : [];
    if (dropped.length <= FEW) return siblings.map((k) => this.item(k, depth));
    const items = siblings.filter((k) => !dropped.includes(k)).map((k) => this.item(k, depth));
    const best = this.nodes[dropped[0]].total;
    const line = make("div", { class: "line" }, caret(), `${dropped.length} dropped`);
    if (best !== undefined) line.append(" · best ", chip(best, this.range, "total"));
    const item = make("li", { role: "treeitem", class: "item rest", tabindex: "-1", "aria-level": depth }, line);
    this.foldable(item, () => dropped.map((k) => this.item(k, depth + 1)));
    for (const k of dropped) this.items.set(k, { within: item });
    return [...items, item];
  }

  foldable(item, inside) {
    item.setAttribute("aria-expanded", "false");
    item.unfold = () => {
      if (!item.group) {
        item.group = make("ul", { role: "group" }, ...inside());
        item.append(item.group);
      }
      item.group.hidden = false;
      item.setAttribute("aria-expanded", "true");
    };
    item.fold = () => {
      if (item.group) item.group.hidden = true;
      item.setAttribute("aria-expanded", "false");
    };
  }

  item(k, depth) {
    const node = this.nodes[k];
    const item = make("li", {
      role: "treeitem",
      class: `item ${node.state}`,
      tabindex: "-1",
      "aria-level": depth,
      "data-node": k,
    });
    const within = this.items.get(k)?.within ?? null;
    this.items.set(k, { item, within });
    item.append(this.line(k));
    const children = this.children[k];
    if (children.length) {
      this.foldable(item, () => this.group(children, depth + 1));
      if (this.search && (node.state === "chosen" || this.nodes.length <= MANY)) item.unfold();
    }
    return item;
  }

  line(k) {
    const node = this.nodes[k];
    const leaf = this.children[k].length === 0;
    const whole = !this.search && node.depth === 0;
    const value = whole ? node.total : node.score ?? node.total;
    const line = make("div", { class: "line" }, leaf ? make("span", { class: "caret" }) : caret());
    const parts = !this.search && node.depth === 1;
    if (!parts || value !== undefined) line.append(chip(value, this.range, whole ? "total" : "score"));
    const text = whole && !leaf ? this.nodes[this.children[k].at(-1)].text ?? "" : node.text ?? "";
    line.append(text ? block(text, "line-text") : make("i", { class: "line-text empty" }, "no text"));
    const brief = node.why && node.why.length < 44;
    line.append(this.tags(node, whole, brief));
    if (node.why && !brief) line.append(make("div", { class: "why" }, node.why));
    const more = this.more(node);
    if (more) line.append(more);
    return line;
  }

  tags(node, whole, brief) {
    const tags = make("span", { class: "tags" });
    const states = { chosen: whole || node.finished ? "✓ chosen" : "chosen", kept: "kept", dropped: whole ? "not chosen" : "dropped" };
    if (states[node.state] && (this.search || whole)) tags.append(make("span", { class: `tag ${node.state}` }, states[node.state]));
    if (node.answer !== undefined) tags.append(make("span", { class: "tag" }, "answer ", visible(node.answer.slice(0, 200))));
    if (whole && !node.finished) tags.append(make("span", { class: "tag" }, "cut off"));
    if (this.search && node.finished) tags.append(make("span", { class: "tag" }, "end"));
    if (this.search && node.score !== undefined && node.total !== node.score) {
      tags.append(make("span", { class: "tag", title: `total ${node.total}` }, `total ${short(node.total)}`));
    }
    if (brief) tags.append(make("span", { class: "tokens" }, node.why, " ·"));
    if (node.tokens !== undefined) tags.append(make("span", { class: "tokens" }, plural(node.tokens, "token")));
    return tags;
  }

  // The rationale before a step, and the lookahead that its total is of.
  more(node) {
    const pairs = [
      ["Rationale", node.rationale],
      ["Lookahead", node.lookahead_text],
    ].filter(([, text]) => text !== undefined);
    if (!pairs.length) return null;
    return make("dl", { class: "more" }, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, block(text))]));
  }

  // Open the items around a node and focus it.
  reveal(k) {
    const parent = this.nodes[k].parent;
    if (parent !== undefined && !this.items.get(k)?.item) {
      this.reveal(parent);
      this.items.get(parent)?.item?.unfold?.();
    }
    this.items.get(k)?.within?.unfold();
    for (let at = this.items.get(k).item.parentElement.closest("[role=treeitem]"); at; at = at.parentElement.closest("[role=treeitem]")) at.unfold();
    this.focus(this.items.get(k).item);
  }

  all(open) {
    for (let again = true; again; ) {
      const folded = [...this.element.querySelectorAll(`[aria-expanded=${open ? "false" : "true"}]`)];
      folded.forEach((item) => (open ? item.unfold() : item.fold()));
      again = open && folded.length > 0;
    }
  }

  focus(item) {
    if (!item) return;
    this.element.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    item.setAttribute("tabindex", "0");
    item.focus({ preventScroll: true });
    item.firstElementChild.scrollIntoView({ block: "nearest" });
  }

  toggle(item) {
    if (item.getAttribute("aria-expanded") === "true") item.fold();
    else item.unfold?.();
  }

  click(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item || event.target.closest("button") || String(getSelection())) return;
    this.toggle(item);
    this.focus(item);
  }

  key(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item || event.target !== item || event.ctrlKey || event.metaKey || event.altKey) return;
    const seen = [...this.element.querySelectorAll("[role=treeitem]")].filter((one) => !one.closest("[hidden]"));
    const at = seen.indexOf(item);
    const open = item.getAttribute("aria-expanded");
    const actions = {
      ArrowDown: () => this.focus(seen[at + 1]),
      ArrowUp: () => this.focus(seen[at - 1]),
      Home: () => this.focus(seen[0]),
      End: () => this.focus(seen.at(-1)),
      ArrowRight: () => (open === "false" ? item.unfold() : open && this.focus(seen[at + 1])),
      ArrowLeft: () => (open === "true" ? item.fold() : this.focus(item.parentElement.closest("[role=treeitem]"))),
      Enter: () => this.toggle(item),
      " ": () => this.toggle(item),
    };
    if (!actions[event.key]) return;
    actions[event.key]();
    event.preventDefault();
  }

  // All steps as dots in a column for each round; a click on a dot goes to the step in the outline.
  map() {
    const columns = [];
    this.nodes.forEach((node, k) => (columns[node.depth] ??= []).push(k));
    const most = Math.max(...columns.map((column) => column.length));
    const gap = Math.min(18, Math.max(5, 300 / most));
    const radius = Math.min(5.5, gap * 0.42);
    const room = Math.min(820, document.documentElement.clientWidth - 70);
    const wide = Math.min(150, Math.max(46, room / columns.length));
    const height = Math.max(60, most * gap + 34);
    const svg = makeSvg("svg", { width: wide * columns.length + 12, height, class: "map" });
    const edges = makeSvg("g", {});
    const dots = makeSvg("g", {});
    const spots = [];
    columns.forEach((column, depth) => {
      const rank = new Map(column.map((k) => [k, spots[this.nodes[k].parent]?.y ?? 0]));
      this.rank(column);
      column.sort((a, b) => rank.get(a) - rank.get(b));
      const x = wide * (depth + 0.5);
      const label = makeSvg("text", { x, y: height - 6, class: "map-round" });
      label.textContent = `step ${depth + 1}`;
      dots.append(label);
      column.forEach((k, place) => {
        spots[k] = { x, y: (height - 24) / 2 + (place - (column.length - 1) / 2) * gap };
        this.dot(k, spots, radius, edges, dots, wide);
      });
    });
    svg.append(edges, dots);
    return make("div", { class: "map-frame", "aria-hidden": "true" }, svg);
  }

  dot(k, spots, radius, edges, dots, wide) {
    const node = this.nodes[k];
    const { x, y } = spots[k];
    const from = node.parent === undefined ? null : spots[node.parent];
    if (from) {
      const half = wide / 2;
      const path = `M${from.x} ${from.y}C${from.x + half} ${from.y} ${x - half} ${y} ${x} ${y}`;
      edges.append(makeSvg("path", { d: path, class: `edge ${node.state}` }));
    }
    const value = node.score ?? node.total;
    const shade = value === undefined ? "none" : `s${level(value, this.range)}`;
    const grown = node.state === "chosen" ? radius + 1.5 : radius;
    const dot = makeSvg("circle", { cx: x, cy: y, r: grown, class: `dot ${node.state} ${shade}` });
    const title = makeSvg("title", {});
    title.textContent = `${value === undefined ? "" : short(value) + "  "}${(node.text ?? "").slice(0, 200)}`;
    dot.append(title);
    dot.addEventListener("click", () => this.reveal(k));
    dots.append(dot);
  }
}

function caret() {
  return make("span", { class: "caret", "aria-hidden": "true" }, "▸");
}

function makeSvg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
