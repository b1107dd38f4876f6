// Texts, numbers and scores as DOM nodes. Model text becomes text nodes, never markup.

const LONG = 4000;
// Characters that hide or reorder text are shown as their code points: controls other than tab and
// newline, direction overrides and isolates, unpaired surrogates.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

// Makes an element: make("p", {class: "note"}, "text", child). Attribute names never come from data.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A text with its hidden characters made visible.
function visible(text) {
  const fragment = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(HIDDEN)) {
    const code = match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    fragment.append(text.slice(from, match.index), make("span", { class: "hidden-sign" }, "U+" + code));
    from = match.index + match[0].length;
  }
  fragment.append(text.slice(from));
  return fragment;
}

// A block of text. A long text is cut off, with a button that shows all of it.
function block(text, className = "model-text") {
  const element = make("div", { class: className, dir: "auto" });
  if (text.length <= LONG) {
    element.append(visible(text));
    return element;
  }
  const rest = make("button", { type: "button", class: "quiet" }, `Show all ${count(text.length)} characters`);
  rest.addEventListener("click", (event) => {
    event.stopPropagation();
    element.replaceChildren(visible(text));
  });
  element.append(visible(text.slice(0, LONG)), "… ", rest);
  return element;
}

function count(number) {
  return number.toLocaleString("en");
}

function plural(number, one, many = one + "s") {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// A number in a few digits; the chip's title has all of them.
function short(number) {
  if (Math.abs(number) < 1000 && (number === 0 || Math.abs(number) >= 0.01)) return number.toFixed(2);
  if (Math.abs(number) >= 1e5) return number.toExponential(1);
  return Math.abs(number) >= 1000 ? number.toFixed(0) : "0.00";
}

// Range of the colour scale: 0 to 1 if all numbers are in it, else their minimum and maximum.
function rangeOf(numbers) {
  let low = 0;
  let high = 1;
  for (const number of numbers) {
    low = Math.min(low, number);
    high = Math.max(high, number);
  }
  if (low === 0 && high === 1) return [0, 1];
  return [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
}

function level(number, [low, high]) {
  const share = high > low ? (number - low) / (high - low) : 1;
  return Math.round(10 * Math.min(1, Math.max(0, share)));
}

// A score as a coloured number.
function chip(number, range, label = "score") {
  if (number === undefined || number === null) return make("span", { class: "chip none", title: `no ${label}` }, "–");
  return make("span", { class: `chip s${level(number, range)}`, title: `${label} ${number}` }, short(number));
}

function verdict(correct) {
  if (correct === undefined) return null;
  return make("span", { class: correct ? "verdict right" : "verdict wrong" }, correct ? "✓ right" : "✗ wrong");
}
