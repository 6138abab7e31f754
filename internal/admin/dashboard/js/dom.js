// Making and changing elements. Text is always set as text: the page's policy
// lets nothing be made into markup.

export const id = (name) => document.getElementById(name);

// h makes an element: h("td", {class: "n"}, "text", child).
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The setters below touch the page only where something is another than before;
// what they set is remembered, as asking the page costs as well.
const known = new WeakMap();

function isNew(element, what, value) {
  let of = known.get(element);
  if (!of) known.set(element, (of = {}));
  if (of[what] === value) return false;
  of[what] = value;
  return true;
}

export function setText(element, text) {
  if (isNew(element, "text", text)) element.textContent = text;
}

export function setAttr(element, name, value) {
  if (!isNew(element, name, value)) return;
  if (value == null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

export function setHidden(element, hidden) {
  if (isNew(element, "hidden", hidden)) element.hidden = hidden;
}

// setVar sets a custom property of CSS, as for the length of a bar.
export function setVar(element, name, value) {
  if (isNew(element, name, value)) element.style.setProperty(name, value);
}
