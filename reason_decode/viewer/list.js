// The list of traces: filtered, sorted, and rendered only where it is visible.

const ROW = 84; // px, as in page.css

class TraceList {
  constructor(rows, textOf, open) {
    this.rows = rows;
    this.textOf = textOf;
    this.open = open;
    this.haystacks = null;
    this.shown = rows.map((_, k) => k);
    this.current = 0;
    this.range = rangeOf(rows.flatMap((row) => (row.total === undefined ? [] : [row.total])));
    this.filter = { text: "", verdict: "all", kind: "", order: "order" };
    this.box = document.getElementById("rows");
    this.space = document.getElementById("space");
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-trace]");
      if (row) this.open(Number(row.dataset.trace), true);
    });
    window.addEventListener("resize", () => this.draw());
    this.controls();
    this.apply();
  }

  controls() {
    let waiting = 0;
    document.getElementById("search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.apply({ text: event.target.value.trim().toLowerCase() }), 120);
    });
    document.getElementById("sort").addEventListener("change", (event) => this.apply({ order: event.target.value }));
    const kinds = [...new Set(this.rows.map((row) => row.kind))];
    const select = document.getElementById("strategy");
    select.hidden = kinds.length < 2;
    select.append(make("option", { value: "" }, "Every strategy"));
    kinds.forEach((kind, k) => select.append(make("option", { value: String(k) }, visible(kind))));
    select.addEventListener("change", (event) => this.apply({ kind: kinds[event.target.value] ?? "" }));
    this.verdicts();
  }

  // The filter by grade, shown if any trace was graded.
  verdicts() {
    const graded = this.rows.filter((row) => row.correct !== undefined);
    const right = graded.filter((row) => row.correct).length;
    const box = document.getElementById("verdicts");
    box.hidden = graded.length === 0;
    const choices = [
      ["all", "All", this.rows.length],
      ["right", "✓ Right", right],
      ["wrong", "✗ Wrong", graded.length - right],
    ];
    for (const [value, label, number] of choices) {
      const input = make("input", { type: "radio", name: "verdict", value, checked: value === "all" });
      input.addEventListener("change", () => this.apply({ verdict: value }));
      box.append(make("label", {}, input, make("span", {}, `${label} ${count(number)}`)));
    }
  }

  apply(change = {}) {
    Object.assign(this.filter, change);
    const { text, verdict, kind, order } = this.filter;
    if (text) this.haystacks ??= this.rows.map((row, k) => this.textOf(row, k).toLowerCase());
    this.shown = this.rows.flatMap((row, k) => {
      if (verdict !== "all" && row.correct !== (verdict === "right")) return [];
      if (kind && row.kind !== kind) return [];
      return text && !this.haystacks[k].includes(text) ? [] : [k];
    });
    this.sort(order);
    const all = this.rows.length;
    const some = this.shown.length;
    document.getElementById("count").textContent =
      some === all ? plural(all, "trace") : `${count(some)} of ${plural(all, "trace")}`;
    this.space.style.height = `${some * ROW}px`;
    this.box.scrollTop = 0;
    this.draw();
  }

  sort(order) {
    const total = (k) => this.rows[k].total ?? -Infinity;
    if (order === "low") this.shown.sort((a, b) => total(a) - total(b));
    if (order === "high") this.shown.sort((a, b) => total(b) - total(a));
    if (order === "tokens") this.shown.sort((a, b) => this.rows[b].tokens - this.rows[a].tokens);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 3);
    const last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 7);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    this.space.replaceChildren(...rows);
    const seen = this.shown.slice(first, last).includes(this.current);
    if (seen) this.box.setAttribute("aria-activedescendant", `row-${this.current}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(place) {
    const k = this.shown[place];
    const row = this.rows[k];
    const element = make(
      "div",
      {
        id: `row-${k}`,
        class: "row",
        role: "option",
        "data-trace": k,
        "aria-selected": k === this.current ? "true" : "false",
        "aria-posinset": place + 1,
        "aria-setsize": this.shown.length,
      },
      make(
        "div",
        { class: "row-top" },
        make("span", { class: "id" }, visible(row.id)),
        make("span", { class: "kind" }, visible(row.kind)),
        verdict(row.correct),
        row.total === undefined ? null : chip(row.total, this.range, "total"),
      ),
      make("div", { class: "row-prompt", dir: "auto" }, visible(row.prompt ?? "")),
      make("div", { class: "row-outcome", dir: "auto" }, visible(row.outcome ?? "")),
    );
    element.style.top = `${place * ROW}px`;
    return element;
  }

  // Make a trace the current one and scroll to it.
  select(k) {
    this.current = k;
    const place = this.shown.indexOf(k);
    if (place >= 0) {
      const top = place * ROW;
      const height = this.box.clientHeight;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      else if (height && top + ROW > this.box.scrollTop + height) this.box.scrollTop = top + ROW - height;
    }
    this.draw();
  }

  // Open the trace that is `by` places further down the list.
  step(by) {
    if (!this.shown.length) return;
    const at = this.shown.indexOf(this.current);
    const place = at < 0 ? 0 : Math.min(this.shown.length - 1, Math.max(0, at + by));
    this.open(this.shown[place], false);
  }

  key(event) {
    const rows = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: rows, PageUp: -rows, Home: -Infinity, End: Infinity }[event.key];
    if (by !== undefined) this.step(by);
    else if (event.key === "Enter" && this.shown.length) this.open(this.current, true);
    else return;
    event.preventDefault();
  }
}
